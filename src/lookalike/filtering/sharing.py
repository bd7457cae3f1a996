"""A detector whose work the processes of a launcher share."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.data.loading import Images
from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Detector
from lookalike.training.session import Session
from lookalike.training.sharing import shared

UNIT = 64  # images; a multiple of the batch of every network that filters look through


@dataclass(frozen=True)
class SharedDetector:
    """See `training.sharing`."""

    detector: Detector
    session: Session

    def score(self, images: Images) -> Scores:
        """See Detector."""
        return shared(self.detector.score, images, self.session, UNIT)
