from __future__ import annotations

import subprocess
import sys

from lookalike.config import KINDS, GenerateConfig
from lookalike.parts import part, parts


def test_parts_are_called_as_parameters_call_them() -> None:
    assert parts("lookalike.filtering.detectors") == ("hog", "yolov4-tiny")
    assert part("lookalike.filtering.detectors", "yolov4-tiny").__name__.endswith("yolov4_tiny")
    assert set(parts("lookalike.synthesis.kinds")) == set(KINDS) <= set(GenerateConfig.model_fields)


def test_naming_them_imports_none() -> None:
    """Parameters are read where PyTorch is not needed."""
    script = "import sys, lookalike.config; assert not {'torch', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
