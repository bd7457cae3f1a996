"""Random views: whole pixels, mirrored images, rectangles of the mean colour."""

from __future__ import annotations

import torch

from lookalike.reid.augmentation import augment, erase


def test_augment_moves_and_mirrors_whole_pixels() -> None:
    height, width = 32, 16
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    x = torch.stack([rows, columns, columns]).float().expand(64, -1, -1, -1)
    torch.manual_seed(0)
    y = augment(x)
    assert y.shape == x.shape
    centre = y[:, :, height // 2, width // 2].long()
    assert {abs(r - height // 2) for r in centre[:, 0].tolist()} == {0, 1, 2}  # up to 32 / 16
    direction = y[:, 1, 0, -1] - y[:, 1, 0, 0]
    assert 16 < int((direction < 0).sum()) < 48  # about half are mirrored
    # Rows and columns stay together: a pixel's row does not depend on its column.
    assert torch.equal(y[:, 0], y[:, 0, :, :1].expand(-1, -1, width))
    # Everything that appears was there before; borders are repeated.
    assert y[:, 0].min() >= 0
    assert y[:, 0].max() == height - 1


def test_erase_replaces_rectangles_by_the_mean_colour() -> None:
    x = torch.full((400, 3, 32, 16), 5.0)
    torch.manual_seed(0)
    y = erase(x, 0.5)
    torch.manual_seed(0)
    assert torch.equal(erase(x, 0.5), y)
    erased = (y != x).all(dim=1)
    assert torch.equal(erased, (y != x).any(dim=1))
    areas = erased.float().mean(dim=(1, 2))
    hit = areas > 0
    assert 0.42 < float(hit.float().mean()) < 0.58
    assert 0.01 < float(areas[hit].min()) < 0.03  # 0.02, in whole pixels
    assert 0.3 < float(areas.max()) <= 0.42
    rows, columns = erased.any(dim=2), erased.any(dim=1)
    assert torch.equal(rows[:, :, None] & columns[:, None, :], erased)  # rectangles
    assert (rows.int().diff(dim=1).abs().sum(dim=1) <= 2).all()  # in one piece
    assert erased[hit].float().mean(dim=0).min() > 0  # anywhere
    torch.testing.assert_close(
        (y[erased.unsqueeze(1).expand_as(y)].unique() + 1) / 2, torch.tensor([0.406, 0.456, 0.485])
    )
    assert torch.equal(erase(x, 0.0), x)
