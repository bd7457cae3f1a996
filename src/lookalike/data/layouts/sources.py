"""The layouts by the names that `data.source` and `lookalike data import --as` give them."""

from __future__ import annotations

from collections.abc import Mapping

from lookalike.config import Source
from lookalike.data.layouts.csv_table import CSV
from lookalike.data.layouts.dukemtmc import DUKEMTMC
from lookalike.data.layouts.folders import FOLDERS
from lookalike.data.layouts.layout import Layout
from lookalike.data.layouts.market1501 import MARKET1501, RENDERED
from lookalike.data.layouts.msmt17 import MSMT17

SOURCES: Mapping[Source, Layout] = {
    "rendered": RENDERED,
    "market1501": MARKET1501,
    "dukemtmc": DUKEMTMC,
    "msmt17": MSMT17,
    "csv": CSV,
    "folders": FOLDERS,
}
