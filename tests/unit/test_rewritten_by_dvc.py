"""What DVC writes anew, as `dvc exp run --set-param` does, means the same as before."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from dvc.utils.hydra import apply_overrides
from dvc.utils.serialize import dump_yaml

from lookalike.config import Config, load_config, read_yaml
from lookalike.errors import UserError
from lookalike.profiles import compose, names, render

ROOT = Path(__file__).parents[2]
PROFILES = ROOT / "profiles"


@pytest.mark.parametrize("name", ["params.yaml", *names(PROFILES)])
def test_parameters_survive(name: str, tmp_path: Path) -> None:
    """Those that are shipped, and whatever `profile use` writes."""
    copy = tmp_path / "params.yaml"
    if name == "params.yaml":
        shutil.copy(ROOT / name, copy)
    else:
        copy.write_text(render(compose(name, PROFILES)))
    before = load_config(copy)
    apply_overrides(copy, ["data.validation_persons=3"])
    after = load_config(copy)
    assert after.data.validation_persons == 3
    data = before.data.model_copy(update={"validation_persons": 3})
    assert after == before.model_copy(update={"data": data})
    # Other readers of YAML, editors and scripts, mostly read version 1.1.
    assert yaml.safe_load(copy.read_text()) == read_yaml(copy)


def test_words_and_numbers_of_either_version_of_yaml(tmp_path: Path) -> None:
    """DVC drops the quotes of what YAML 1.2 reads as text: no, off, y, 0o17, 1:30."""
    values = {
        "a": "no", "b": "off", "c": "y", "d": "null", "e": "1e-4", "f": 1e-4, "g": 1e-12, "h": None,
        "i": "2026-01-31", "j": "1:30", "k": "0o17", "l": "", "m": "~", "n": "0123", "o": 1e22,
    }  # fmt: skip
    path = tmp_path / "params.yaml"
    dump_yaml(path, {**values, "z": 0})
    apply_overrides(path, ["z=1"])
    assert read_yaml(path) == {**values, "z": 1}


@pytest.mark.parametrize("override", ["reid.precision=no", "reid.precision=false"])
def test_precision_as_older_files_call_it(override: str, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text(render(Config()))
    apply_overrides(tmp_path / "params.yaml", [override])
    assert load_config(tmp_path / "params.yaml").reid.precision == "fp32"


def test_yaml_that_dvc_refuses_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    for content in (b"seed: 1\nseed: 2\n", b"a: [1,\nb: 2", b"seed: \xff\n"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="is not YAML: ") as caught:
            load_config(path)
        assert "\n" not in str(caught.value)
