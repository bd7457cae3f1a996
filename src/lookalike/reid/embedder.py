"""Images to unit-length embeddings: the one way in which every stage and the server embed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from lookalike.data.loading import Images, resize_batch, to_tensor
from lookalike.progress import Progress
from lookalike.reid.model import ReidNet, exact_float32, load_reid, score_settings

SHOW_PROGRESS_FROM = 256  # images; fewer are done in a moment


class Embedder:
    """A re-ID network in evaluation mode.

    A GPU computes as exactly as the CPU, so embeddings of both can be compared.

    Args:
        model: the network.
        batch_size: images at once; does not change the result beyond rounding.
        flip: average the embedding with the mirror image's. It changes the score: record it.
        device: where to compute.
    """

    def __init__(
        self,
        model: ReidNet,
        batch_size: int = 64,
        flip: bool = False,
        device: torch.device | str = "cpu",
    ):
        self.model = model.to(device).eval()
        self.batch_size, self.flip, self.device = batch_size, flip, torch.device(device)

    @classmethod
    def load(
        cls,
        path: Path,
        batch_size: int = 64,
        flip: bool = False,
        device: torch.device | str = "cpu",
    ) -> Self:
        """An embedder from a file of `save_reid`.

        Raises:
            UserError: the file is missing or holds no re-ID model.
        """
        return cls(load_reid(path), batch_size, flip, device)

    @property
    def dim(self) -> int:
        """Length of an embedding, D."""
        return self.model.embedding_dim

    @property
    def settings(self) -> dict[str, Any]:
        """Everything besides the weights that changes the score; log it with every result."""
        return {**score_settings(self.model), "flip": self.flip}

    @torch.inference_mode()
    def embed(self, images: Images) -> npt.NDArray[np.float32]:
        """Embeddings of unit length, float32 [N, D], of uint8 RGB [N, H, W, 3].

        Images of another size are resized to the network's.

        Raises:
            ValueError: not uint8 [N, H, W, 3].
        """
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise ValueError(
                f"images must be uint8 [N, H, W, 3], not {images.dtype} {images.shape}"
            )
        embeddings = np.empty((len(images), self.dim), dtype=np.float32)
        visible = len(images) >= SHOW_PROGRESS_FROM
        with (
            exact_float32(self.device),
            Progress("embed", len(images), visible=visible) as progress,
        ):
            for start in range(0, len(images), self.batch_size):
                batch = images[start : start + self.batch_size]
                resized = resize_batch(batch, self.model.height, self.model.width)
                tensor = to_tensor(resized, self.device)
                features = self.model.features(tensor)
                if self.flip:
                    features = (features + self.model.features(tensor.flip(3))) / 2
                unit = torch.nn.functional.normalize(features.float())
                embeddings[start : start + len(batch)] = unit.cpu().numpy()
                progress.advance(len(batch))
        return embeddings
