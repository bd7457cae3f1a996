"""What the guarded server counts, as text for Prometheus (exposition format 0.0.4).

The server's event loop alone writes here, so nothing is locked. Imports nothing of this package:
see `server.py`, which loads this file by its path.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)  # buckets
Labels = Mapping[str, str]
Figures = Mapping[str, tuple[str, float]]  # name of a gauge: what it is, and its value


class Telemetry:
    """Counts of one server.

    Args:
        model: what is served, as MLflow calls it.
        figures: gauges that somebody else keeps, asked for whenever somebody reads.
    """

    def __init__(self, model: str = "", figures: Iterable[Callable[[], Figures]] = ()):
        self.model, self.figures = model, tuple(figures)
        self.answers: Counter[int] = Counter()  # by status
        self.refusals: Counter[tuple[int, str]] = Counter()  # by status and by whom
        self.pictures = 0  # of requests that were answered with embeddings
        self.working = 0
        self.seconds = 0.0
        self.buckets: Counter[float] = Counter()  # by upper bound; slower ones are in none

    def answered(self, status: int, by: str, seconds: float, pictures: int) -> None:
        """Count a request.

        Args:
            status: of HTTP; 0 where the client went away before an answer.
            by: who refused it, `guard` or `model`; counts from 400 on.
            seconds: from its headers to the end of the answer.
            pictures: how many it held; counts below 400.
        """
        self.answers[status] += 1
        if status >= 400:
            self.refusals[status, by] += 1
        elif status:
            self.pictures += pictures
        self.seconds += seconds
        bound = next((bound for bound in SECONDS if seconds <= bound), None)
        if bound is not None:
            self.buckets[bound] += 1

    def text(self) -> str:
        """Everything counted so far."""
        lines = [
            *_family("model_info", "gauge", "What is served.", [({"model": self.model}, 1)]),
            *_family(
                "requests_total",
                "counter",
                "Requests by status; 0: the client went away.",
                [({"status": str(s)}, n) for s, n in sorted(self.answers.items())],
            ),
            *_family(
                "refusals_total",
                "counter",
                "Requests that got a 4xx or 5xx, by who refused them.",
                [({"status": str(s), "by": by}, n) for (s, by), n in sorted(self.refusals.items())],
            ),
            *_family("pictures_total", "counter", "Pictures embedded.", [({}, self.pictures)]),
            *_family("requests_working", "gauge", "Requests right now.", [({}, self.working)]),
            *self._histogram(),
        ]
        for source in self.figures:
            for name, (about, value) in source().items():
                lines += _family(name, "gauge", about, [({}, value)])
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[str]:
        name, total, below = "request_seconds", sum(self.answers.values()), 0
        lines = _family(name, "histogram", "From a request's headers to the answer's end.", [])
        for bound in SECONDS:
            below += self.buckets[bound]
            lines.append(_sample(f"{name}_bucket", {"le": f"{bound:g}"}, below))
        lines.append(_sample(f"{name}_bucket", {"le": "+Inf"}, total))
        lines.append(_sample(f"{name}_sum", {}, self.seconds))
        lines.append(_sample(f"{name}_count", {}, total))
        return lines


def _family(name: str, kind: str, about: str, samples: Iterable[tuple[Labels, float]]) -> list[str]:
    """The lines of one metric; `name` without the prefix that all share."""
    head = [f"# HELP lookalike_{name} {about}", f"# TYPE lookalike_{name} {kind}"]
    return head + [_sample(name, labels, value) for labels, value in samples]


def _sample(name: str, labels: Labels, value: float) -> str:
    escaped = {
        key: text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        for key, text in labels.items()
    }
    inside = ",".join(f'{key}="{text}"' for key, text in escaped.items())
    return f"lookalike_{name}{'{' + inside + '}' if inside else ''} {float(value):.12g}"
