"""What a file is, from its first bytes, for messages about files that are something else."""

from __future__ import annotations

from pathlib import Path

HEAD = 4096  # bytes that are looked at
TAR_MAGIC = slice(257, 262)
LONGEST_HEADER = 100 << 20  # of safetensors, in bytes; its own limit
MAGICS = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!\x1a\x07": "a RAR archive",
    b"PK\x03\x04": "a zip archive",
    b"PK\x05\x06": "an empty zip archive",
    b"PK\x07\x08": "a part of a zip archive of several files",
    b"\x1f\x8b": "a gzip file",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ\0": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"%PDF": "a PDF document",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file",
    b"PAR1": "a Parquet table",
    b"SQLite format 3\0": "an SQLite database",
    b"version https://git-lfs": "a pointer of Git LFS (`git lfs pull` gets the file)",
}


def format_of(content: bytes) -> str:
    """What a file that begins with these bytes is, with an article: `a 7z archive`.

    Args:
        content: the whole file, or at least its first `HEAD` bytes.
    """
    head = content[:HEAD]
    if not head:
        return "an empty file"
    if not head.strip(b"\0"):
        return "a file of zeros"
    if head.startswith(b"PK\x03\x04") and b"data.pkl" in head[:256]:
        return "a PyTorch file (.pt, .pth)"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "a WebP picture"
    if head[TAR_MAGIC] == b"ustar":
        return "a tar archive"
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= LONGEST_HEADER:
        return "a safetensors file"
    if head[:1] == b"\x80" and head[1:2] in b"\2\3\4\5":
        return "a pickle"
    for magic, name in MAGICS.items():
        if head.startswith(magic):
            return name
    text = _text(head)
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith(("<!doctype html", "<html", "<head")):
        return "an HTML page"
    if start.startswith("<"):
        return "an XML document"
    if start.startswith("{"):
        return "JSON text"
    return "a text file" if text else "a file of an unknown kind"


def format_of_file(path: Path) -> str:
    """`format_of` what is on the disk; nothing is raised, as an error is on its way already."""
    if path.is_dir():
        return "a folder"
    try:
        with path.open("rb") as stream:
            return format_of(stream.read(HEAD))
    except OSError:
        return "a file that cannot be read"


def _text(head: bytes) -> str:
    """The bytes as text; "" where they are none."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if len(head) < HEAD or error.start < HEAD - 4:  # not a letter that the limit cuts
            return ""
        text = head[: error.start].decode("utf-8-sig")
    plain = all(letter.isprintable() or letter in "\t\r\n\f\ufeff" for letter in text)
    return text if plain else ""
