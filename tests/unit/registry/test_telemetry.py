"""The text that Prometheus reads: its form, its histogram, its escapes."""

from __future__ import annotations

import re

from lookalike.registry.telemetry import SECONDS, Telemetry

SAMPLE = re.compile(r'lookalike_[a-z_]+(\{([a-z]+="([^"\\\n]|\\.)*",?)+\})? [-+.0-9einfa]+')


def value(text: str, sample: str) -> float:
    (line,) = [line for line in text.splitlines() if line.startswith(f"{sample} ")]
    return float(line.split()[-1])


def test_every_line_is_a_comment_or_a_sample_of_a_family_named_before() -> None:
    telemetry = Telemetry('models:/a"b\\c\nd', [lambda: {"drift": ("How far.", 0.5)}])
    telemetry.answered(200, "model", 0.2, 3)
    telemetry.answered(413, "guard", 0.001, 0)
    names: set[str] = set()
    text = telemetry.text()
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# "):
            names.add(line.split()[2])
        else:
            assert SAMPLE.fullmatch(line), line
            name = re.split("[{ ]", line)[0]
            assert name in names or re.sub("_(bucket|sum|count)$", "", name) in names
    assert 'model="models:/a\\"b\\\\c\\nd"' in text
    assert value(text, "lookalike_drift") == 0.5


def test_buckets_hold_all_that_were_as_fast() -> None:
    telemetry = Telemetry()
    times = (0.01, 0.011, 0.2, 7.0, 4000.0)
    for seconds in times:
        telemetry.answered(200, "model", seconds, 1)
    text = telemetry.text()
    for bound in SECONDS:
        held = value(text, f'lookalike_request_seconds_bucket{{le="{bound:g}"}}')
        assert held == sum(seconds <= bound for seconds in times)
    assert value(text, 'lookalike_request_seconds_bucket{le="+Inf"}') == len(times)
    assert value(text, "lookalike_request_seconds_sum") == sum(times)


def test_who_went_away_is_counted_and_no_refusal() -> None:
    telemetry = Telemetry()
    telemetry.answered(0, "guard", 1.0, 5)
    text = telemetry.text()
    assert value(text, 'lookalike_requests_total{status="0"}') == 1
    assert value(text, "lookalike_pictures_total") == 0
    assert "refusals_total{" not in text
