"""The files that start a team's servers."""

from __future__ import annotations

import os
import re
import stat
import subprocess
from pathlib import Path

import mlflow.cli
import pytest
import yaml
from mlflow import environment_variables

DEPLOY = Path(__file__).parents[2] / "deploy"
SCRIPTS = sorted(DEPLOY.glob("*.sh"))


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_can_be_run(script: Path) -> None:
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)


def test_passwords_are_new_for_the_owner_alone_and_never_written_over(tmp_path: Path) -> None:
    written = []
    for place in (tmp_path / "one", tmp_path / "two"):
        place.mkdir()
        script = place / "passwords.sh"
        script.write_bytes((DEPLOY / "passwords.sh").read_bytes())
        subprocess.run(["sh", script], check=True)
        again = subprocess.run(["sh", script], capture_output=True, text=True, check=False)
        assert again.returncode == 1 and "is there already" in again.stderr
        file = place / "team.env"
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        values = dict(line.split("=", 1) for line in file.read_text().splitlines())
        secrets = {
            value for name, value in values.items() if "PASSWORD" in name or "SECRET" in name
        }
        assert len(secrets) == 4 and all(len(secret) == 48 for secret in secrets)
        written.append(secrets)
        # All that the server and compose ask for.
        for asker in ("mlflow.sh", "compose.yaml"):
            text = (DEPLOY / asker).read_text()
            asked = {part.split(":?")[0] for part in text.split("${")[1:] if ":?" in part[:40]}
            assert asked and asked <= set(values), asker
    assert not written[0] & written[1]


def test_the_server_refuses_to_start_without_a_password() -> None:
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD": "x"}
    done = subprocess.run(
        ["sh", DEPLOY / "mlflow.sh"], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode and "AWS_SECRET_ACCESS_KEY" in done.stderr


def test_compose_mounts_what_is_there_and_holds_no_password() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    assert set(services) == {"database", "store", "mlflow"}
    for service in services.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            assert not source.startswith(".") or (DEPLOY / source).is_file()
        for name, value in service.get("environment", {}).items():
            assert ("PASSWORD" in name or "SECRET" in name) <= str(value).startswith("${"), name
    build = services["mlflow"]["build"]
    assert (DEPLOY / build["context"] / build["dockerfile"]).is_file()
    assert "/deploy/team.env" in (DEPLOY.parent / ".gitignore").read_text().splitlines()


def test_the_store_makes_the_bucket_that_mlflow_writes_to() -> None:
    store = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["store"]
    (bucket,) = re.findall(r"s3://(\w+)/", (DEPLOY / "mlflow.sh").read_text())
    assert f"-bucket={bucket}" in store["command"]


def test_mlflow_knows_every_variable_that_is_set_for_it() -> None:
    """By its command line or by itself: a misspelt one would be ignored."""
    known = {option.envvar for option in mlflow.cli.server.params}
    known |= {
        value.name
        for value in vars(environment_variables).values()
        if isinstance(value, environment_variables._EnvironmentVariable)
    }
    texts = [path.read_text() for path in DEPLOY.iterdir() if path.is_file()]
    texts.append((DEPLOY.parent / "docs" / "team.md").read_text())
    named = set(re.findall(r"MLFLOW_\w*[A-Z]", "\n".join(texts)))
    assert len(named) > 10 and named <= known, named - known
