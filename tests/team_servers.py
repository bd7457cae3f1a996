"""A team's servers for a test: PostgreSQL, an S3 store, MLflow's tracking server, an sshd.

All listen on this machine alone, on ports that are free, and are ended with the test.
"""

from __future__ import annotations

import base64
import importlib.util
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from urllib.parse import quote

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
BUCKET = "lookalike"
MODULES = ("boto3", "dvc_s3", "flask_wtf", "moto", "psycopg")
PASSWORD = "s3cr3t/@:"  # in each, with the characters that addresses give a meaning to


def lacking() -> str:
    """What the servers need and this machine has not, in words; nothing where all is there."""
    told = []
    if absent := [name for name in MODULES if importlib.util.find_spec(name) is None]:
        told.append(f"{', '.join(absent)} (make install-team)")
    if not _program("initdb", "/usr/lib/postgresql/*/bin"):
        told.append("PostgreSQL (Debian's postgresql)")
    return " and ".join(told)


def lacking_ssh() -> str:
    """The same for a remote over SSH."""
    told = [] if importlib.util.find_spec("dvc_ssh") else ["dvc_ssh (make install-team)"]
    if not (_program("sshd", "/usr/sbin") and shutil.which("ssh-keygen")):
        told.append("sshd (Debian's openssh-server)")
    return " and ".join(told)


def _program(name: str, folders: str) -> str:
    """A program that Debian has in no folder of a person's path; "" where it is not."""
    found = sorted(Path("/").glob(f"{folders[1:]}/{name}"))
    return str(found[-1]) if found else shutil.which(name) or ""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def patiently(call: Callable[[], object], seconds: float = 300) -> None:
    """Call until it raises nothing."""
    end = time.monotonic() + seconds
    while True:
        try:
            call()
        except Exception:
            if time.monotonic() > end:
                raise
            time.sleep(0.2)
        else:
            return


@dataclass(frozen=True)
class Team:
    """Where the servers are, and who knows which password.

    Attributes:
        mlflow, s3: addresses, without passwords.
        people: user -> password.
        keys: the object store's, as environment variables.
        database: PostgreSQL's, as environment variables.
        passwords: all that must be written nowhere.
        logs: what the servers write.
    """

    mlflow: str
    s3: str
    people: Mapping[str, str]
    keys: Mapping[str, str]
    database: Mapping[str, str]
    passwords: tuple[str, ...]
    logs: Path

    def environment(self, person: str) -> dict[str, str]:
        """What a person sets before working with the servers, as docs/team.md says."""
        return {
            "MLFLOW_TRACKING_URI": self.mlflow,
            "MLFLOW_TRACKING_USERNAME": person,
            "MLFLOW_TRACKING_PASSWORD": self.people[person],
            "LOGNAME": person,  # as whom decisions are made
            **self.keys,
        }

    def dump(self) -> bytes:
        """All that MLflow has in its database, as text."""
        program = _program("pg_dump", "/usr/lib/postgresql/*/bin")
        environment = os.environ | self.database
        return subprocess.check_output([program, "--user", "mlflow", "mlflow"], env=environment)

    def stored(self) -> Iterator[tuple[str, bytes]]:
        """Every object in the store: its name and what is in it."""
        client = _store_client(self.s3, self.keys)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET):
            for item in page.get("Contents", ()):
                body = client.get_object(Bucket=BUCKET, Key=item["Key"])["Body"]
                yield item["Key"], body.read()


@contextmanager
def team_servers(*people: str) -> Iterator[Team]:
    """The servers, as docs/team.md starts them without Docker, with accounts for some people."""
    database, admin, key, *theirs = (
        PASSWORD + secrets.token_hex(6) for _ in range(3 + len(people))
    )
    keys = {
        "AWS_ACCESS_KEY_ID": "team",
        "AWS_SECRET_ACCESS_KEY": key,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with ExitStack() as stack:
        # Not in pytest's folder, which PostgreSQL's own user could not enter.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="team-")))
        folder.chmod(0o755)
        logs = folder / "logs"
        logs.mkdir()
        where = stack.enter_context(_postgres(folder / "postgres", database, logs))
        s3 = stack.enter_context(_object_store(keys, logs))
        mlflow = stack.enter_context(_tracking_server({**where, **keys}, s3, admin, logs))
        accounts = dict(zip(people, theirs, strict=True))
        _add_accounts(mlflow, admin, accounts)
        passwords = (database, admin, key, *theirs)
        yield Team(mlflow, s3, accounts, keys, where, passwords, logs)


@contextmanager
def _postgres(folder: Path, password: str, logs: Path) -> Iterator[dict[str, str]]:
    """A database server; how programs find it and its password."""
    import psycopg

    folder.mkdir()
    asked = folder / "password"
    asked.write_text(password)
    user = None
    if os.geteuid() == 0:  # it refuses to run as root
        user = "postgres"
        for path in (folder, asked):
            shutil.chown(path, user, user)
    programs = "/usr/lib/postgresql/*/bin"
    data, port = folder / "data", free_port()
    subprocess.run(
        [_program("initdb", programs), "--pgdata", data, "--username", "mlflow", "--pwfile", asked,
         "--auth", "scram-sha-256", "--no-sync"],
        check=True, stdout=subprocess.DEVNULL, cwd=folder, user=user, group=user,
        extra_groups=None if user is None else [],
    )  # fmt: skip
    asked.unlink()
    command = [_program("postgres", programs), "-D", str(data), "-p", str(port)]
    command += ["-h", "127.0.0.1", "-k", str(data)]
    address = f"postgresql://mlflow:{quote(password, safe='')}@127.0.0.1:{port}/postgres"
    with running(command, logs / "postgres.log", user=user, end=signal.SIGINT):
        patiently(lambda: psycopg.connect(address).close())
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute("CREATE DATABASE mlflow")
            connection.execute("CREATE DATABASE accounts")
        yield {"PGHOST": "127.0.0.1", "PGPORT": str(port), "PGPASSWORD": password}


@contextmanager
def _object_store(keys: Mapping[str, str], logs: Path) -> Iterator[str]:
    """Moto's server, which speaks S3 and asks for no password, with an empty bucket."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with running([str(BIN / "moto_server"), "--port", str(port)], logs / "s3.log"):
        client = _store_client(address, keys)
        patiently(lambda: client.create_bucket(Bucket=BUCKET))
        yield address


def _store_client(address: str, keys: Mapping[str, str]):  # boto3 has no types
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=address,
        aws_access_key_id=keys["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=keys["AWS_SECRET_ACCESS_KEY"],
        region_name=keys["AWS_DEFAULT_REGION"],
    )


@contextmanager
def _tracking_server(known: Mapping[str, str], s3: str, admin: str, logs: Path) -> Iterator[str]:
    """MLflow's, started as people start it."""
    port = free_port()
    environment = {
        **known,
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "PORT": str(port),
        "MLFLOW_S3_ENDPOINT_URL": s3,
        "MLFLOW_AUTH_ADMIN_PASSWORD": admin,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(16),
    }
    command = [str(ROOT / "deploy" / "mlflow.sh"), "--workers", "1"]
    address = f"http://127.0.0.1:{port}"
    with running(command, logs / "mlflow.log", environment):
        patiently(lambda: urllib.request.urlopen(f"{address}/health", timeout=5).close())
        yield address


def _add_accounts(mlflow: str, admin: str, accounts: Mapping[str, str]) -> None:
    """An account for everybody, made by the admin."""
    login = base64.b64encode(f"admin:{admin}".encode()).decode()
    for user, password in accounts.items():
        request = urllib.request.Request(
            f"{mlflow}/api/2.0/mlflow/users/create",
            json.dumps({"username": user, "password": password}).encode(),
            {"Content-Type": "application/json", "Authorization": f"Basic {login}"},
        )
        urllib.request.urlopen(request, timeout=60).close()


@contextmanager
def ssh_server(home: Path, folder: Path) -> Iterator[str]:
    """An sshd that lets this user in with the key in a new home; the address of a folder on it."""
    own, port = folder / "sshd", free_port()
    keys = home / ".ssh"
    for place in (own, keys):
        place.mkdir(parents=True, mode=0o700)
    for key in (own / "host", keys / "id_ed25519"):
        make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", str(key)]
        subprocess.run(make, check=True)
    host = (own / "host.pub").read_text()
    (keys / "known_hosts").write_text(f"[127.0.0.1]:{port} {host}")
    settings = own / "config"
    settings.write_text(
        f"ListenAddress 127.0.0.1:{port}\nHostKey {own}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {keys}/id_ed25519.pub\nStrictModes no\nPasswordAuthentication no\n"
        f"AllowUsers {getuser()}\nSubsystem sftp internal-sftp\n"
    )
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it, and empty
    command = [_program("sshd", "/usr/sbin"), "-D", "-e", "-f", str(settings)]
    with running(command, folder / "sshd.log"):
        patiently(lambda: socket.create_connection(("127.0.0.1", port), 5).close())
        yield f"ssh://{getuser()}@127.0.0.1:{port}{folder}"


@contextmanager
def running(
    command: list[str],
    log: Path,
    environment: Mapping[str, str] | None = None,
    *,
    user: str | None = None,
    end: signal.Signals = signal.SIGTERM,
) -> Iterator[None]:
    """A server and the processes it starts, while the block runs."""
    with log.open("w") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=os.environ | (environment or {}), cwd=log.parent, start_new_session=True,
            user=user, group=user, extra_groups=None if user is None else [],
        )  # fmt: skip
    try:
        yield
    except BaseException:
        print(f"{log.name} ends with:", log.read_text()[-2000:], sep="\n")
        raise
    finally:
        os.killpg(process.pid, end)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
