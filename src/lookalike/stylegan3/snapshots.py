"""What a training run shows on the way: the distance to the real images, and a sheet of samples."""

from __future__ import annotations

from pathlib import Path

from lookalike.data.loading import resize_batch
from lookalike.metrics.comparison import Comparison, share
from lookalike.names import counted
from lookalike.progress import say
from lookalike.report.figures import contact_sheet
from lookalike.stylegan3.gan import sample_images
from lookalike.stylegan3.generator import Generator
from lookalike.tracking import Tracker
from lookalike.training.checkpoint import ResumeState

SHEET = 64  # samples on the grid, always of the same latents


class Snapshots:
    """A `trainer.Snapshot`: measures the averaged generator, and keeps a grid of its samples.

    Args:
        compare: to the real images, which have the size that is generated later.
        count: samples to measure.
        size: height and width at which they are compared; samples are resized to it.
        seed: of their latents.
        folder: of the grids, which are named after the images seen.
        resume: keeps the grids until the run is complete.
        tracker: receives them.
    """

    def __init__(
        self,
        compare: Comparison,
        count: int,
        size: tuple[int, int],
        seed: int,
        *,
        folder: Path,
        resume: ResumeState,
        tracker: Tracker,
    ):
        self.compare, self.count, self.size, self.seed = compare, count, size, seed
        self.folder, self.resume, self.tracker = folder, resume, tracker
        if compare.session.is_main:
            resume.restore(folder)

    def __call__(self, generator: Generator, images_seen: int) -> dict[str, float]:
        """The distances, on the main process; every process calls it and makes its share."""
        session = self.compare.session
        mine, visible = share(self.count, session), session.is_main
        fakes = sample_images(generator, self.count, self.seed, rows=mine, visible=visible)
        distances = self.compare(resize_batch(fakes, *self.size), self.count)
        if session.is_main:
            grid = self.folder / f"{images_seen:08d}.png"
            shown = min(SHEET, self.count)
            if len(fakes) < shown:  # this process' share is small
                fakes = sample_images(generator, self.count, self.seed, rows=slice(shown))
            contact_sheet(fakes[:shown], grid, columns=16)
            self.resume.keep(grid)
            self.tracker.artifact(grid, "samples")
            values = ", ".join(f"{name} {value:.4f}" for name, value in distances.items())
            say(f"train_gan: {values} at {counted(images_seen, 'image')}")
        return distances
