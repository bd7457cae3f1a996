"""Darknet's files in PyTorch, beside OpenCV's network on the same random weights."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from lookalike.errors import UserError
from lookalike.filtering.darknet import Block, load_darknet, read_cfg
from lookalike.filtering.untrained_yolo import write_untrained

SHOWN_BY_OPENCV = 0.2  # smaller confidences are 0 there


@pytest.mark.parametrize(("classes", "divisor"), [(80, 1), (3, 8)])
def test_every_confidence_is_opencvs(tmp_path: Path, classes: int, divisor: int) -> None:
    files = write_untrained(tmp_path, classes=classes, divisor=divisor)
    pixels = np.random.default_rng(0).random((2, 3, 416, 416), np.float32)
    with torch.inference_mode():
        together = load_darknet(*files)(torch.from_numpy(pixels)).numpy()
    assert together.shape == (2, 3 * (13 * 13 + 26 * 26), classes)
    network = cv2.dnn.readNetFromDarknet(*map(str, files))
    for image, ours in zip(pixels, together, strict=True):
        network.setInput(image[None])
        boxes = np.concatenate(network.forward(network.getUnconnectedOutLayersNames()))
        theirs = boxes[:, 5:]
        shown = theirs > 0
        assert shown.mean() > 0.5
        assert np.abs(ours - theirs)[shown].max() < 1e-4
        assert ours[~shown].max() < SHOWN_BY_OPENCV + 1e-4


def test_a_cfg_is_blocks_of_settings_with_comments_and_spaces() -> None:
    text = "[net]\n# Training\nbatch = 64 # images\n\n[route]\nlayers = -1, 23\n"
    net, route = read_cfg(text)
    assert net == Block("net", {"batch": "64"}, 1)
    assert route.numbers("layers") == [-1, 23] and route.number("groups", 1) == 1


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("[net]", "nonsense", "line 1 is no setting: nonsense"),
        ("[net]", "[region]", "it does not begin with [net]"),
        ("filters=2\n", "", "line 6: [convolutional] has no filters"),
        ("filters=2\n", "filters=two\n", "line 6: filters=two in [convolutional]"),
        ("filters=2\n", "filters=99\n", "it is cut short"),
        ("activation=leaky", "activation=mish", "line 6: activation=mish, not leaky or linear"),
        ("[upsample]", "[dropout]", "a [dropout] such as YOLOv4-tiny does not have"),
        ("layers=-1,23", "layers=-1,230", "[route] names what is not there"),
        ("classes=1", "classes=2", "18 channels are no boxes of 2"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_where(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    cfg, weights = write_untrained(tmp_path, classes=1, divisor=16)
    cfg.write_text(cfg.read_text().replace(old, new, 1))
    with pytest.raises(UserError) as caught:
        load_darknet(cfg, weights)
    message = str(caught.value)
    assert message.startswith(f"cannot read {cfg} with {weights}: ") and said in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("size", "said"),
    [(8, "too short for a header"), (1000, "cut short"), (None, "and there are"), (0, "header")],
)
def test_weights_that_do_not_fit_are_refused(tmp_path: Path, size: int | None, said: str) -> None:
    cfg, weights = write_untrained(tmp_path, classes=1, divisor=16)
    data = weights.read_bytes()
    weights.write_bytes(data + bytes(4) if size is None else data[:size])
    with pytest.raises(UserError, match=said):
        load_darknet(cfg, weights)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"cannot read .*none\.cfg"):
        load_darknet(tmp_path / "none.cfg", tmp_path / "none.weights")
