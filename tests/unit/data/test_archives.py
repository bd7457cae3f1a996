import gzip
import io
import random
import stat
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from lookalike.data.archives import extract_archive, write_archive
from lookalike.errors import UserError

MEMBERS = [("b/2.jpg", b"two"), ("a/1.jpg", b"one" * 1000), ("c.txt", b"")]


def extract(archive: Path, target: Path, max_bytes: int = 1 << 20, max_files: int = 100) -> None:
    extract_archive(archive, target, max_bytes=max_bytes, max_files=max_files)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def zip_of(path: Path, *members: tuple[str | zipfile.ZipInfo, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members:
            file.writestr(name, data)
    return path


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:  # type: ignore[call-overload]
        for info, data in members:
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def refused(archive: Path, target: Path, *words: str, **limits: int) -> None:
    """Extraction fails in one line with these words and leaves nothing behind."""
    before = sorted(archive.parent.iterdir())
    with pytest.raises(UserError) as error:
        extract(archive, target, **limits)
    message = str(error.value)
    assert "\n" not in message
    for word in (str(archive), *words):
        assert word in message
    assert sorted(archive.parent.iterdir()) == before


def test_the_same_members_give_the_same_bytes_and_come_back(tmp_path: Path) -> None:
    write_archive(tmp_path / "one.zip", iter(MEMBERS))
    write_archive(tmp_path / "deep" / "two.zip", MEMBERS)
    data = (tmp_path / "one.zip").read_bytes()
    assert data == (tmp_path / "deep" / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as file:
        assert file.namelist() == [name for name, _ in MEMBERS]
        assert {info.compress_type for info in file.infolist()} == {zipfile.ZIP_STORED}
        assert {info.date_time for info in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    extract(tmp_path / "one.zip", tmp_path / "out")
    assert files(tmp_path / "out") == dict(MEMBERS)


def test_a_failed_write_leaves_the_old_archive(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_archive(path, MEMBERS)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="given twice"):
        write_archive(path, [*MEMBERS, MEMBERS[0]])
    with pytest.raises(ValueError, match=r"\.\."):
        write_archive(path, [("../a", b"")])
    assert [p.name for p in tmp_path.iterdir()] == ["a.zip"]
    assert path.read_bytes() == before


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_tars_come_back(tmp_path: Path, mode: str) -> None:
    members = [(tarfile.TarInfo(name), data) for name, data in MEMBERS]
    extract(tar_of(tmp_path / "a", *members, mode=mode), tmp_path / "out")
    assert files(tmp_path / "out") == dict(MEMBERS)


def test_only_takes_what_it_is_told(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.zip", MEMBERS)
    extract_archive(
        tmp_path / "a.zip",
        tmp_path / "out",
        max_bytes=100,  # the member that is skipped is larger
        max_files=9,
        only=lambda path: path.suffix == ".jpg" and path.parts[0] == "b",
    )
    assert files(tmp_path / "out") == {"b/2.jpg": b"two"}


def test_a_target_in_use_is_left_alone(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.zip", MEMBERS)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_bytes(b"x")
    with pytest.raises(UserError, match="is there already"):
        extract(tmp_path / "a.zip", tmp_path / "out")
    assert files(tmp_path / "out") == {"mine": b"x"}


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "a/../../evil.jpg", "/etc/evil.jpg", "C:/evil.jpg", "a\\..\\evil.jpg"]
)
def test_paths_that_escape_are_refused(tmp_path: Path, name: str) -> None:
    target = tmp_path / "folder" / "out"
    target.parent.mkdir()
    good = ("good.jpg", b"x")
    refused(zip_of(tmp_path / "a.zip", good, (name, b"x")), target, repr(name))
    refused(tar_of(tmp_path / "a.tgz", (tarfile.TarInfo(name), b"x")), target, repr(name))
    assert not (tmp_path / "evil.jpg").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_and_devices_are_refused(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("link")
    info.type, info.linkname = kind, "/etc/passwd"
    refused(tar_of(tmp_path / "a.tgz", (info, b"")), tmp_path / "out", "'link'", "link or a device")


def test_a_symbolic_link_in_a_zip_is_refused(tmp_path: Path) -> None:
    info = zipfile.ZipInfo("link")
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    archive = zip_of(tmp_path / "a.zip", (info, b"/etc/passwd"))
    refused(archive, tmp_path / "out", "'link'", "link or a device")


def test_bombs_are_refused(tmp_path: Path) -> None:
    bomb = b"\0" * (1 << 20)
    target = tmp_path / "out"
    zipped = zip_of(tmp_path / "a.zip", ("bomb", bomb))
    refused(zipped, target, "'bomb'", "more than is allowed", max_bytes=1 << 16)
    tarred = tar_of(tmp_path / "a.tgz", (tarfile.TarInfo("bomb"), bomb))
    refused(tarred, target, "'bomb'", "more than is allowed", max_bytes=1 << 16)


def test_a_bomb_in_a_tars_header_is_refused(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a")
    info.pax_headers = {"comment": "x" * (8 << 20)}
    archive = tar_of(tmp_path / "a.tgz", (info, b""))
    assert archive.stat().st_size < 1 << 16
    refused(archive, tmp_path / "out", "more than is allowed", max_bytes=1 << 16)


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", *((f"{i}.jpg", b"") for i in range(5)))
    refused(archive, tmp_path / "out", "'4.jpg'", "more files", max_files=4)
    extract(archive, tmp_path / "out", max_files=5)


def test_a_lying_size_is_refused(tmp_path: Path) -> None:
    data = bytes(1 << 18)
    archive = zip_of(tmp_path / "a.zip", ("liar", data))
    raw = archive.read_bytes()
    size, lie = struct.pack("<I", len(data)), struct.pack("<I", 10)
    assert raw.count(size) == 2  # the local and the central header
    archive.write_bytes(raw.replace(size, lie))
    refused(archive, tmp_path / "out", "'liar'", max_bytes=1 << 16)


def test_a_name_given_twice_is_refused(tmp_path: Path) -> None:
    twice = [(tarfile.TarInfo("same"), b"1"), (tarfile.TarInfo("./same"), b"2")]
    refused(tar_of(tmp_path / "a.tgz", *twice), tmp_path / "out", "same", "twice")


def test_damaged_archives_are_named(tmp_path: Path) -> None:
    whole = tar_of(
        tmp_path / "a.tgz", (tarfile.TarInfo("x"), random.Random(0).randbytes(99_999))
    ).read_bytes()
    cut = tmp_path / "cut.tgz"
    cut.write_bytes(whole[: len(whole) // 2])
    refused(cut, tmp_path / "out", "not readable at 'x'", "damaged or cut short: get it again")
    refused(tmp_path / "missing.zip", tmp_path / "out", "no archive")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is an empty file, not an archive (zip, tar, tar.gz)"),
        (b"no archive at all", "is a text file, not an archive"),
        (b"<!DOCTYPE html>\n<html>Please sign in</html>", "is an HTML page, perhaps one that asks"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(600), "is a 7z archive, which is not read here: unpack it"),
        (b"Rar!\x1a\x07\x00" + bytes(600), "is a RAR archive, which is not read here: unpack it"),
        (b"BZh9" + bytes(600), "is a bzip2 file, which is not read here: unpack it"),
        (
            gzip.compress(b"text" * 999, mtime=0),
            "is a gzip file of something else than a tar, or cut short",
        ),
        (b"\x89PNG\r\n\x1a\n" + bytes(600), "is a PNG picture, not an archive"),
    ],
)
def test_another_kind_of_file_is_called_by_its_name(
    tmp_path: Path, content: bytes, words: str
) -> None:
    (tmp_path / "download.zip").write_bytes(content)
    refused(tmp_path / "download.zip", tmp_path / "out", words)


def test_half_a_zip_is_one(tmp_path: Path) -> None:
    whole = zip_of(tmp_path / "a.zip", ("x.jpg", bytes(range(256)) * 99)).read_bytes()
    (tmp_path / "a.zip").write_bytes(whole[: len(whole) // 2])
    refused(tmp_path / "a.zip", tmp_path / "out", "the beginning of a zip archive", "get it again")
