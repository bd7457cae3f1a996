"""Where a re-ID network finds what it describes: activation-based attention."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from lookalike.data.loading import Images, resize_batch, to_tensor
from lookalike.reid.embedder import Embedder

# A coarser map says no more than "above" or "below": inputs of 48x24 leave 2x1 cells after layer4.
MIN_ROWS = 6


@torch.inference_mode()
def activation_maps(embedder: Embedder, images: Images) -> tuple[npt.NDArray[np.float32], str]:
    """Squared activations summed over channels, of the deepest layer with `MIN_ROWS` rows or more.

    The attention maps of Zagoruyko and Komodakis (2017), F_sum with p = 2. Each map is scaled to
    0..1 by itself: maps show where, and do not compare images.

    Args:
        embedder: the network; its flip averaging plays no part.
        images: uint8 [N, H, W, 3], N at least 1; all at once.

    Returns:
        Maps, float32 [N, h, w], and the layer's name.
    """
    model = embedder.model
    found = model.maps(to_tensor(resize_batch(images, model.height, model.width), embedder.device))
    fine = [name for name, maps in found.items() if maps.shape[2] >= MIN_ROWS]
    layer = fine[-1] if fine else next(iter(found))
    maps = found[layer].float().square().sum(1)
    maps = maps - maps.amin((1, 2), keepdim=True)
    peak = maps.amax((1, 2), keepdim=True)
    return (maps / peak.clamp(min=torch.finfo(peak.dtype).tiny)).cpu().numpy(), layer
