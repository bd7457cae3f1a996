"""Passwords vanish wherever an address is shown, and reach the libraries as they are meant."""

from __future__ import annotations

import pytest
from sqlalchemy import make_url

from lookalike.addresses import Address, hidden

# As written; user, password, host and path as they are meant.
WRITTEN = [
    ("http://alice:SECRET@host:5000", "alice", "SECRET", "host:5000"),
    ("http://alice:SEC@RET@host:5000/mlflow", "alice", "SEC@RET", "host:5000/mlflow"),
    ("http://alice:SE/CR:ET@host", "alice", "SE/CR:ET", "host"),
    ("http://alice:SE?CR#ET@host", "alice", "SE?CR#ET", "host"),
    ("http://alice:SE/C?RET@host", "alice", "SE/C?RET", "host"),
    ("http://alice:12/34@host", "alice", "12/34", "host"),
    ("postgresql://alice:SEC%40RET%2F@host/db", "alice", "SEC@RET/", "host/db"),
    ("postgresql+psycopg://alice:50%@host/db?sslmode=require", "alice", "50%", "host/db"),
    ("mysql+pymysql://SECRET@host/db", "SECRET", "", "host/db"),
    ("https://host/mlflow?a=b@c", "", "", "host/mlflow"),
]


@pytest.mark.parametrize(("address", "user", "password", "place"), WRITTEN)
def test_an_address_in_parts(address: str, user: str, password: str, place: str) -> None:
    parts = Address.parse(address)
    assert (parts.user, parts.password) == (user, password)
    assert parts.rest.partition("?")[0] == place
    assert Address.parse(parts.encoded) == parts
    url = make_url(parts.encoded)
    assert (url.username or "", url.password or "") == (user, password)
    assert url.host == place.partition("/")[0].partition(":")[0]


@pytest.mark.parametrize(("address", "user", "password", "place"), WRITTEN)
def test_nothing_of_a_password_is_shown(address: str, user: str, password: str, place: str) -> None:
    if user:
        for text in (address, Address.parse(address).encoded):
            assert hidden(f"cannot open {text}: 'no answer'.") == (
                f"cannot open {address.partition('//')[0]}//{Address.parse(address).rest}: "
                "'no answer'."
            )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (
            "postgresql://h/db?user=a&password=SECRET&x=1",
            "postgresql://h/db?user=a&password=***&x=1",
        ),
        ("s3://bucket/x?X-Amz-Signature=SECRET", "s3://bucket/x?X-Amz-Signature=***"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3DSECRET", "mssql+pyodbc:///?odbc_connect=***"),
        (
            "https://TOKEN@git.example.org/x.git and ssh://u:p@h",
            "https://git.example.org/x.git and ssh://h",
        ),
    ],
)
def test_other_places_of_secrets(text: str, shown: str) -> None:
    assert hidden(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "train_reid@baseline of models:/lookalike-reid@champion",
        "sqlite:////home/a@b/mlruns/mlflow.db",
        "file:///home/a@b/x",
        "http://127.0.0.1:5000/#/experiments/1/runs?workflowType=machine_learning",
        "write to a@example.org",
    ],
)
def test_what_is_no_secret_stays(text: str) -> None:
    assert hidden(text) == text
    assert Address.parse(text).encoded == text
