"""Latents fitted to their images: optimised for some steps, from where an encoder puts them.

Optimisation finds latents that an encoder cannot read off at one look, as Abdal et al. (2019,
"Image2StyleGAN") do from the average latent with some thousand steps an image. From an encoder's
latents a few are enough (Zhu et al. 2020, "In-Domain GAN Inversion"), for a batch at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from lookalike.data.loading import Images, to_tensor
from lookalike.errors import UserError
from lookalike.inversion.losses import InversionLoss
from lookalike.progress import Progress
from lookalike.stylegan3.generator import Generator
from lookalike.training.model_file import (
    Kind,
    load_model,
    read_settings,
    save_model,
    unreadable,
)
from lookalike.training.session import Session, state_digest
from lookalike.training.sharing import shared
from lookalike.training.threads import each_by_a_thread

Rows = npt.NDArray[np.intp]  # positions
Latents = npt.NDArray[np.float32]  # [N, num_ws, w_dim]

KIND: Kind = "latents"
RATE = 0.05  # Adam's at first; falls to 0 along half a cosine
BATCH = 16  # images
WINDOW, GAIN = 10, 0.01  # a batch is done when so many steps have brought less than this share


def fit(
    generator: Generator, loss: InversionLoss, images: Tensor, ws: Tensor, steps: int
) -> Tensor:
    """The latents of least loss on the way from `ws`, [N, num_ws, w_dim], of one batch.

    Args:
        generator: frozen.
        loss: of the reconstructions; its mean over the batch.
        images: [N, 3, H, W] in [-1, 1], at the generator's size.
        ws: to start from, [N, num_ws, w_dim].
        steps: of Adam, at most; fewer where the loss hardly falls any more.
    """
    ws = ws.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([ws], RATE)
    falling = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(steps, 1))
    target = loss.target(images)
    best, losses = ws.detach().clone(), list[float]()
    for step in range(steps + 1):
        total = loss(images, target, generator.synthesis(ws), ws)["loss"]
        losses.append(float(total.detach()))
        if losses[-1] <= min(losses):
            best = ws.detach().clone()
        if step == steps or not math.isfinite(losses[-1]) or _settled(losses):
            break
        (ws.grad,) = torch.autograd.grad(total, [ws])  # of the latents alone
        optimizer.step()
        falling.step()
    return best


def _settled(losses: Sequence[float]) -> bool:
    return len(losses) > WINDOW and losses[-1] > (1 - GAIN) * losses[-1 - WINDOW]


def fit_all(
    generator: Generator,
    loss: InversionLoss,
    images: Images,
    ws: Tensor,
    steps: int,
    session: Session,
) -> Tensor:
    """`fit` in batches, shared out over the processes; every process gets all, on the CPU.

    On a CPU a batch is one thread's work. What comes out depends on neither number.

    Args:
        images: uint8 [N, H, W, 3], at the generator's size.
        ws: of each image, to start from, [N, num_ws, w_dim].
        generator, loss, steps: as of `fit`.
        session: the processes.
    """
    batches = np.split(np.arange(len(images)), range(BATCH, len(images), BATCH))

    def of_batch(rows: Rows) -> Latents:
        batch = to_tensor(images[rows], session.device)
        fitted = fit(generator, loss, batch, ws[rows].to(session.device), steps)
        return fitted.cpu().numpy()

    def of_batches(mine: list[Rows]) -> Latents:
        found = []
        with (
            Progress("fit latents", sum(map(len, mine)), visible=session.is_main) as progress,
            each_by_a_thread(of_batch, mine, session.device) as fitted,
        ):
            for some in fitted:
                found.append(some)
                progress.advance(len(some))
        return np.concatenate(found)

    return torch.from_numpy(shared(of_batches, batches, session, 1))


@dataclass(frozen=True)
class _Contents:
    """What a file of latents says of itself."""

    generator: str
    """Digest of the generator's weights; another generator's latents mean something else."""
    images: list[str]
    """An image_id for each latent."""


def save_latents(path: Path, generator: Generator, latents: Mapping[str, Tensor]) -> None:
    """Write the latents of images: image_id -> [num_ws, w_dim]; there may be none.

    Raises:
        UserError: it cannot be written there; says why.
    """
    contents = _Contents(state_digest(generator.state_dict()), list(latents))
    none = torch.empty(0, generator.num_ws, generator.config.w_dim)
    ws = torch.stack(list(latents.values())) if latents else none
    save_model(path, KIND, {"ws": ws}, asdict(contents), {})


def load_latents(path: Path, generator: Generator) -> Mapping[str, Tensor]:
    """What `save_latents` wrote: image_id -> [num_ws, w_dim], on the generator's device.

    Raises:
        UserError: no such file, no latents, damaged, or another generator's.
    """
    model = load_model(path, KIND)
    try:
        contents = read_settings(_Contents, model.architecture, KIND)
        ws = model.tensors.get("ws", torch.empty(0))
        expected = (len(contents.images), generator.num_ws, generator.config.w_dim)
        if ws.shape != expected:
            raise ValueError(f"ws is {tuple(ws.shape)}, not {expected}")
    except ValueError as error:
        raise unreadable(path, error) from error
    digest = state_digest(generator.state_dict())
    if contents.generator != digest:
        raise UserError(
            f"{path} belongs to generator {contents.generator[:12]}, not to {digest[:12]}; "
            "run `dvc repro train_encoder`"
        )
    return dict(zip(contents.images, ws.float().to(generator.mapping.w_avg.device), strict=True))
