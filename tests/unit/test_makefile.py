"""What `make` would do, asked with --dry-run."""

import shutil
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]


def planned(root: Path) -> str:
    done = subprocess.run(
        ["make", "--dry-run", "install"], cwd=root, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_the_environment_is_mended_where_the_checkout_lies_elsewhere(tmp_path: Path) -> None:
    """Else the copy's commands would run the original's code."""
    root, copy = tmp_path / "it's $HOME, 50% #1", tmp_path / "copy"
    (root / ".venv").mkdir(parents=True)
    for name in ("Makefile", "pyproject.toml", "requirements.lock"):
        shutil.copy(ROOT / name, root)
    assert "--editable ." in planned(root)
    (root / ".venv" / "installed").write_text(f"{root.resolve()}\n")
    assert "uv" not in planned(root)
    shutil.copytree(root, copy)
    assert "--editable ." in planned(copy)
    assert "uv" not in planned(root)
    root.rename(tmp_path / "moved")
    assert "--editable ." in planned(tmp_path / "moved")
