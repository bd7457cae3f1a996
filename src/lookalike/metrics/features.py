"""Images to feature vectors for the distances."""

from __future__ import annotations

from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import nn
from torch_fidelity import feature_extractor_inceptionv3 as inception

from lookalike.data.loading import Images
from lookalike.errors import UserError
from lookalike.files import sha256_file
from lookalike.progress import Progress

FloatMatrix = npt.NDArray[np.float32]
INCEPTION_SIZE = 299


class FeatureExtractor(Protocol):
    """Maps uint8 [N, H, W, 3] to float32 [N, dim]."""

    name: str  # of the Fréchet distance: fid, frechet_reid
    kernel_name: str  # of the kernel distance: kid, kernel_reid
    dim: int
    digest: str  # of everything that determines the features: weights, resize, settings

    def __call__(self, images: Images) -> FloatMatrix:
        """Features of every image, in order."""


class Embeds(Protocol):
    """What ReidFeatures needs of a re-ID embedder."""

    @property
    def dim(self) -> int:
        """Length of an embedding."""

    def embed(self, images: Images) -> FloatMatrix:
        """Unit-length embeddings, float32 [N, dim]."""


class ReidFeatures:
    """Embeddings of a re-ID model; their Fréchet distance is `frechet_reid`, never FID.

    The vectors have unit length, so the distance lies between 0 and 4.

    Args:
        embedder: the model.
        digest: of its weights and of its settings, where they differ from the defaults.
    """

    name, kernel_name = "frechet_reid", "kernel_reid"

    def __init__(self, embedder: Embeds, digest: str):
        self.embedder, self.digest = embedder, digest
        self.dim = embedder.dim

    def __call__(self, images: Images) -> FloatMatrix:
        """See FeatureExtractor."""
        return self.embedder.embed(images)


class InceptionFeatures:
    """The 2048 pooled features of TensorFlow's Inception of 2015-12-05, those of FID and KID.

    Preprocessing is clean-fid's (Parmar et al. 2022): each channel is resized to 299x299 in
    float32 with Pillow's bicubic kernel (antialiased when shrinking), clipped to [0, 255] and not
    rounded, then (x - 128) / 128 as in the TensorFlow graph. FID values from tools that resize
    without antialiasing, or through uint8, differ by points.

    The network is torch-fidelity's (pools that leave out padding, a max pool in the last block);
    its own loader would unpickle the file freely, so the blocks are put together here.

    Args:
        weights: `pt_inception-2015-12-05-6726825d.pth`; `lookalike.weights.find` verifies it.
        batch_size: images in one forward pass.

    Raises:
        UserError: the file is no state dict of this network.
    """

    name, kernel_name = "fid", "kid"
    dim = 2048

    def __init__(
        self, weights: Path, batch_size: int = 32, device: torch.device | str = "cpu"
    ) -> None:
        self.batch_size, self.device = batch_size, device
        self.network = inception_network()
        try:
            state = torch.load(weights, map_location="cpu", weights_only=True)
            # The classifier's 1008 outputs are not needed.
            features = {k: v for k, v in state.items() if not k.startswith("fc.")}
            missing, unexpected = self.network.load_state_dict(features, strict=False)
        except Exception as error:  # torch.load fails in many ways on a foreign file
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{weights} is no state dict of Inception: {reason}") from error
        # The published file is older than batch norm's counter.
        missing = [key for key in missing if not key.endswith("num_batches_tracked")]
        if missing or unexpected:
            raise UserError(
                f"{weights} is no state dict of Inception: missing {missing[:3]}, "
                f"unexpected {unexpected[:3]}"
            )
        self.network.eval().requires_grad_(False).to(device)
        self.digest = f"{sha256_file(weights)} clean-fid {INCEPTION_SIZE}"

    @torch.inference_mode()
    def __call__(self, images: Images) -> FloatMatrix:
        """See FeatureExtractor."""
        features = np.empty((len(images), self.dim), dtype=np.float32)
        with ThreadPoolExecutor() as pool, Progress("inception", len(images)) as progress:
            for start in range(0, len(images), self.batch_size):
                batch = images[start : start + self.batch_size]
                pixels = np.stack(list(pool.map(resize_clean, batch)))
                tensor = torch.from_numpy(pixels).to(self.device).sub_(128).div_(128)
                features[start : start + len(batch)] = self.network(tensor).float().cpu().numpy()
                progress.advance(len(batch))
        return features


def resize_clean(image: npt.NDArray[np.uint8]) -> FloatMatrix:
    """clean-fid's resize: uint8 [H, W, 3] to float32 [3, 299, 299] in [0, 255]."""
    channels = [
        Image.fromarray(image[:, :, c].astype(np.float32)).resize(
            (INCEPTION_SIZE, INCEPTION_SIZE), Image.Resampling.BICUBIC
        )
        for c in range(3)
    ]
    return np.stack([np.asarray(channel) for channel in channels]).clip(0, 255)


def inception_network() -> nn.Sequential:
    """Inception up to the pooled features, float [N, 3, 299, 299] to [N, 2048], untrained.

    The names are those of the published state dict.
    """
    conv, pool = inception.BasicConv2d, nn.MaxPool2d(kernel_size=3, stride=2)
    return nn.Sequential(
        OrderedDict(
            Conv2d_1a_3x3=conv(3, 32, kernel_size=3, stride=2),
            Conv2d_2a_3x3=conv(32, 32, kernel_size=3),
            Conv2d_2b_3x3=conv(32, 64, kernel_size=3, padding=1),
            MaxPool_1=pool,
            Conv2d_3b_1x1=conv(64, 80, kernel_size=1),
            Conv2d_4a_3x3=conv(80, 192, kernel_size=3),
            MaxPool_2=pool,
            Mixed_5b=inception.InceptionA(192, pool_features=32),
            Mixed_5c=inception.InceptionA(256, pool_features=64),
            Mixed_5d=inception.InceptionA(288, pool_features=64),
            Mixed_6a=inception.InceptionB(288),
            Mixed_6b=inception.InceptionC(768, channels_7x7=128),
            Mixed_6c=inception.InceptionC(768, channels_7x7=160),
            Mixed_6d=inception.InceptionC(768, channels_7x7=160),
            Mixed_6e=inception.InceptionC(768, channels_7x7=192),
            Mixed_7a=inception.InceptionD(768),
            Mixed_7b=inception.InceptionE_1(1280),
            Mixed_7c=inception.InceptionE_2(2048),
            AvgPool=nn.AdaptiveAvgPool2d(1),
            Flatten=nn.Flatten(),
        )
    )
