"""Archives: zips that have the same bytes every time, and safe extraction of strangers' files."""

from __future__ import annotations

import gzip
import lzma
import os
import re
import shutil
import stat
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from lookalike.errors import UserError
from lookalike.files import replacing
from lookalike.formats import format_of_file
from lookalike.progress import Progress

EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time that a zip can hold
FILE_MODE = 0o644
CHUNK = 1 << 20
TAR_OVERHEAD = 4096  # bytes of headers and padding per member that a sane tar stays under
LINK = "it is a link or a device: pack the files that links lead to (`tar --dereference`)"
DRIVE = re.compile(r"[A-Za-z]:")
GZIP_MAGIC = b"\x1f\x8b"
UTF8_FLAG = 0x800  # of a zip's member; without it, zipfile takes the name for code page 437
DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError)


def member_path(name: str) -> PurePosixPath:
    """The member's path if it stays inside the folder that it is extracted to.

    A backslash separates folders, as in archives and tables that Windows wrote.

    Raises:
        ValueError: an absolute path, a `..`, a drive or a NUL; says which.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or DRIVE.match(name):
        raise ValueError("its path is absolute")
    if ".." in path.parts:
        raise ValueError("its path leaves the folder with ..")
    if "\0" in name:
        raise ValueError("its name has a NUL")
    return path


def write_archive(path: Path, members: Iterable[tuple[str, bytes]]) -> None:
    """Write an uncompressed zip: the same members in the same order give the same bytes.

    Uncompressed, because the members are JPEGs and a reader can seek to one. `members` may be a
    generator; one member is in memory at a time. The file appears whole or not at all.

    Raises:
        ValueError: a name occurs twice or would leave the folder that it is extracted to.
    """
    names: set[str] = set()
    with (
        replacing(path) as partial,
        zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive,
    ):
        for name, data in members:
            if member_path(name).as_posix() != name:
                raise ValueError(f"{path}: {name!r} is no plain path")
            if name in names:
                raise ValueError(f"{path}: {name} is given twice")
            names.add(name)
            info = zipfile.ZipInfo(name, EPOCH)
            info.create_system = 3  # Unix on every platform
            info.external_attr = (stat.S_IFREG | FILE_MODE) << 16
            archive.writestr(info, data)


def extract_archive(
    archive: Path,
    target: Path,
    *,
    max_bytes: int,
    max_files: int,
    only: Callable[[PurePosixPath], bool] = lambda path: True,
) -> None:
    """Extract a zip, tar or tar.gz that nobody vouches for.

    Plain files and folders only; permissions, owners and times are not taken over. Sizes are
    counted while reading, whatever the headers say. `target` appears whole or not at all.

    Args:
        archive: what to extract; its type is read from its content.
        target: a folder that does not exist yet, or is empty.
        max_bytes: upper bound of what is unpacked, in bytes.
        max_files: upper bound of the members, folders included.
        only: which files to extract; the others are checked, too, but not written.

    Raises:
        UserError: names the archive, the member and what is wrong with it.
    """
    if not archive.is_file():
        raise UserError(f"no archive at {archive}")
    with staging(target) as folder:
        budget = _Budget(archive, max_bytes, max_files)
        name = ""
        try:
            size = archive.stat().st_size // CHUNK  # MiB
            with Progress(f"extract {archive.name} (MiB)", size) as progress:
                for member in _members(archive, budget):
                    name = member.name
                    budget.count_member(name)
                    if member.refusal:
                        raise UserError(f"{archive}: refused {name!r}: {member.refusal}")
                    path = member_path(name)
                    progress.advance(member.position // CHUNK - progress.count)
                    if member.is_folder or not only(path):
                        continue
                    place = folder / path
                    place.parent.mkdir(parents=True, exist_ok=True)
                    with member.open() as source, place.open("xb") as sink:
                        while chunk := source.read(CHUNK):
                            budget.count_bytes(len(chunk), name)
                            sink.write(chunk)
                progress.advance(size - progress.count)
        except FileExistsError as error:
            raise UserError(f"{archive}: refused {name!r}: it is there twice") from error
        except ValueError as error:
            raise UserError(f"{archive}: refused {name!r}: {error}") from error
        except _TooLargeError as error:
            raise UserError(
                f"{archive}: refused {name!r}: unpacks to more than is allowed"
            ) from error
        except DAMAGED as error:
            if not name:
                raise UserError(f"{archive} is {_what_it_is(archive)}") from error
            reason = f"not readable at {name!r}: {error}"
            raise UserError(f"{archive}: {reason}; damaged or cut short: get it again") from error
        except (OSError, RuntimeError) as error:
            where = f"at {name!r}" if name else "from the start"
            raise UserError(f"{archive}: not readable {where}: {error}") from error


def _what_it_is(archive: Path) -> str:
    """What a file is that opens neither as a zip nor as a tar, and what to do."""
    kind = format_of_file(archive)
    if kind in ("a zip archive", "a tar archive"):
        return f"the beginning of {kind}, damaged or cut short: get it again"
    if kind == "a gzip file":
        return "a gzip file of something else than a tar, or cut short: get it again"
    if kind.endswith(("archive", "bzip2 file", "xz file", "Zstandard file")):
        return f"{kind}, which is not read here: unpack it, and give the folder"
    if kind == "an HTML page":
        return "an HTML page, perhaps one that asks to log in: download the archive itself"
    return f"{kind}, not an archive (zip, tar, tar.gz)"


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """A fresh folder beside `target` that becomes `target` if the block ends well, else vanishes.

    Raises:
        UserError: `target` is there and not an empty folder.
    """
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise UserError(f"{target} is there already; move it away or give another folder")
    target.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}-"))
    try:
        yield folder
        folder.chmod(0o755)  # mkdtemp's folders are their maker's alone
        os.replace(folder, target)  # noqa: PTH105 - the atomic one
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Member:
    """What zip and tar members have in common."""

    name: str
    is_folder: bool
    refusal: str  # why it must not be extracted; "" if it may
    open: Callable[[], IO[bytes]]
    position: int  # bytes of the archive before the member, for progress; of a tar.gz, about


@dataclass
class _Budget:
    """Counts down bytes and members; raises when an archive unpacks to too much."""

    archive: Path
    bytes_left: int
    members_left: int

    def count_bytes(self, amount: int, name: str) -> None:
        self.bytes_left -= amount
        if self.bytes_left < 0:
            raise UserError(f"{self.archive}: refused {name!r}: unpacks to more than is allowed")

    def count_member(self, name: str) -> None:
        self.members_left -= 1
        if self.members_left < 0:
            raise UserError(f"{self.archive}: refused {name!r}: more files than are allowed")


class _TooLargeError(Exception):
    """Of `_BoundedReader`."""


class _BoundedReader:
    """A tar's decompressed stream, which ends in an error after `limit` bytes.

    Needed besides `_Budget`, as tarfile reads extended headers and skipped members by itself.
    """

    def __init__(self, stream: IO[bytes], limit: int):
        self._stream, self._left = stream, limit

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise _TooLargeError
        return data


def _members(archive: Path, budget: _Budget) -> Iterator[_Member]:
    """The members in the archive's order, each to be read before the next one is asked for."""
    if zipfile.is_zipfile(archive):
        yield from _zip_members(archive)
        return
    limit = budget.bytes_left + TAR_OVERHEAD * (budget.members_left + 1)
    with archive.open("rb") as raw:
        compressed = raw.read(2) == GZIP_MAGIC
        raw.seek(0)
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if compressed else raw
        # "r|": a stream without seeking, so that nothing escapes the count.
        bounded = cast(IO[bytes], _BoundedReader(stream, limit))
        with tarfile.open(fileobj=bounded, mode="r|") as tar:
            for info in tar:
                allowed = info.isreg() or info.isdir()
                yield _Member(
                    name=info.name,
                    is_folder=info.isdir(),
                    refusal="" if allowed else LINK,
                    # A sparse file's holes take no room in the archive but do when read; counted.
                    open=lambda info=info: cast(IO[bytes], tar.extractfile(info)),  # type: ignore[misc]
                    position=raw.tell(),
                )


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)
            refusal = ""
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                refusal = LINK
            elif info.flag_bits & 0x1:
                refusal = "it is encrypted"
            name = _zip_name(info)
            yield _Member(
                name=name,
                is_folder=name.endswith(("/", "\\")),
                refusal=refusal,
                open=lambda info=info: file.open(info),  # type: ignore[misc]
                position=info.header_offset,
            )


def _zip_name(info: zipfile.ZipInfo) -> str:
    """A member's name, in UTF-8 even where the zip does not say so, as those of macOS do not."""
    name = info.orig_filename  # before zipfile cuts it at a NUL
    if info.flag_bits & UTF8_FLAG:
        return name
    try:
        return name.encode("cp437").decode()
    except UnicodeError:
        return name
