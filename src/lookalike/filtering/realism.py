"""Does a crop look like real ones? Its distance to the nearest of them, in neutral features.

Neutral features are those of a network that no loss here has seen (`metrics.imagenet`): what was
trained against features may please them and nothing else.
"""

from __future__ import annotations

from lookalike.filtering.calibration import Scores
from lookalike.filtering.filter import Crops, Filter
from lookalike.metrics.manifold import BLOCK, NEIGHBOUR, nearest
from lookalike.training.session import Session
from lookalike.training.sharing import shared


def realism(crops: Crops, real: Crops, session: Session | None = None) -> Scores:
    """Minus the distance of each crop to its third nearest real one: float64 [N], 0 at most.

    The third, as for precision (Kynkäänniemi et al. 2019): one odd real image is no measure. The
    processes of `session` share the crops.

    Raises:
        ValueError: fewer than 3 real crops, or features that are not finite.
    """
    assert crops.neutral is not None and real.neutral is not None
    among = real.neutral
    squares = shared(lambda mine: nearest(mine, among, NEIGHBOUR), crops.neutral, session, BLOCK)
    scores: Scores = -(squares**0.5)
    return scores


# Validation images are left out of the crops that they are compared with, and so are all others of
# their persons. Train images, each left out alone, would find other views of their own person near
# them, which no new person can.
REALISM = Filter(
    "realism",
    lambda config: config.realism_threshold,
    lambda material: realism(material.generated, material.train, material.session),
    lambda material: realism(material.val, material.train, material.session),
    "real validation images",
    neutral=True,
)
