"""Addresses that may hold a password: how they are shown, and how they are handed to libraries."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

# What stands between :// and the last @ of a word. A path (sqlite:////home/a@b) has no such part. A
# password may hold / : and @ itself, so that more may vanish than was secret, and never less.
_BEFORE_HOST = re.compile(r"(?<=://)(?!/)\S*@")
_IN_QUERY = re.compile(
    r"([?&;](?!viewStateShareKey=)"  # MLflow's name of a view
    r"[\w.-]*(?:password|passwd|pwd|secret|token|credential|signature|sig|key|odbc_connect)"
    r"[\w.-]*=)[^&;\s'\"]*",
    re.IGNORECASE,
)


def hidden(text: str) -> str:
    """A text without the credentials of the addresses in it."""
    return _IN_QUERY.sub(r"\1***", _BEFORE_HOST.sub("", text))


@dataclass(frozen=True)
class Address:
    """An address in parts.

    Attributes:
        scheme: with its ://
        user, password: as they are meant, without percent-encoding; empty for none.
        rest: host, port, path and query.
    """

    scheme: str
    user: str
    password: str
    rest: str

    @classmethod
    def parse(cls, text: str) -> Address:
        """Everything before the last @ of host and path is user and password.

        Libraries differ in what they make of a password with @, : or / in it; this does not.
        """
        scheme, mark, rest = text.strip().partition("://")
        if not mark or rest.startswith("/"):
            return cls("", "", "", text.strip())
        place, question, query = rest.partition("?")
        before, at, host = place.rpartition("@")
        if not at and not re.fullmatch(r"[^:/]*(:\d*)?(/.*)?", place):  # the ? is the password's
            before, at, host = rest.rpartition("@")
            question = query = ""
        user, _, password = before.partition(":")
        return cls(scheme + mark, unquote(user), unquote(password), host + question + query)

    @property
    def plain(self) -> str:
        """Without user and password."""
        return self.scheme + self.rest

    @property
    def encoded(self) -> str:
        """With them, written so that no library can misread them."""
        if not self.user and not self.password:
            return self.plain
        password = f":{quote(self.password, safe='')}" if self.password else ""
        return f"{self.scheme}{quote(self.user, safe='')}{password}@{self.rest}"
