"""The bytes and lines of a file of text, whatever compression, encoding and line ends it has."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, AnyStr

from semievol.errors import DataError

COMPRESSED = (".gz", ".bz2", ".xz", ".zst")
"""Suffixes that may stand behind that of a format."""
MOST_OF_A_LINE = 64 * 2**20
"""Bytes or characters; a longer line is no row of anybody's table, and does not have to fit into memory."""
_SEEN = 4096
"""Bytes at a file's beginning that tell its encoding and line ends."""
_MARKED = (
    (b"\xef\xbb\xbf", "utf-8-sig"),
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_NO_TEXT = (
    (b"PAR1", "a Parquet file; call it .parquet"),
    (b"ARROW1", "an Arrow file; call it .arrow"),
    (b"PK\x03\x04", "a ZIP archive or an Excel workbook; unpack it, or call it .xlsx"),
    (b"\xd0\xcf\x11\xe0", "an Excel workbook; call it .xls"),
)
_OPENERS: tuple[tuple[bytes, Any], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)


def open_bytes(path: Path) -> Any:
    """What a file holds, unpacked if it is compressed, which its first bytes tell."""
    if path.exists() and not path.is_file():
        raise OSError("it is no file, but a device, a pipe or a folder")
    with path.open("rb") as stream:
        first = stream.read(6)
    for magic, opener in _OPENERS:
        if first.startswith(magic):
            return io.BufferedReader(opener(path, "rb"))  # some of them show less of what comes than is asked for
    if first.startswith(b"\x28\xb5\x2f\xfd"):
        import pyarrow as pa

        return io.BufferedReader(pa.CompressedInputStream(str(path), "zstd"))
    return path.open("rb")


@contextmanager
def readable(name: str) -> Iterator[None]:
    """A context in which what the system or a decompressor cannot read is a DataError."""
    try:
        yield
    except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:  # the last three: a torn compressed file
        raise DataError(f"{name}: cannot be read: {error}") from error


def lines(path: Path, name: str) -> Iterator[str]:
    """The lines with their line ends.

    Raises:
        DataError: the file cannot be read, is no text, or has bytes that its encoding does not know.
    """
    with readable(name), open_bytes(path) as stream:
        first = stream.peek(_SEEN)[:_SEEN]
        for magic, description in _NO_TEXT:
            if first.startswith(magic):
                raise DataError(f"{name}: is {description}")
        encoding = _encoding(first)
        alone = _ends_with_returns(first, encoding)
        if encoding == "utf-8" and not alone:
            yield from _utf8(stream, name)
            return
        text = io.TextIOWrapper(stream, encoding=encoding, newline="\r" if alone else "")
        number = 0
        try:
            while line := text.readline(MOST_OF_A_LINE + 1):
                number += 1
                yield _bounded(line, name, number)
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name} line {number + 1}: not {encoding.removesuffix('-sig').upper()}, which the file seems to be "
                f"in: {error.reason}; save it as UTF-8"
            ) from error


def _utf8(stream: Any, name: str) -> Iterator[str]:
    """The lines, decoded one by one so that a bad byte has a place."""
    for number, raw in enumerate(iter(partial(stream.readline, MOST_OF_A_LINE + 1), b""), start=1):
        try:
            yield _bounded(raw, name, number).decode("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(
                f"{name} line {number}: byte {error.start + 1} of the line, 0x{raw[error.start]:02x}, is not "
                "UTF-8; save the file as UTF-8"
            ) from error


def _bounded(line: AnyStr, name: str, number: int) -> AnyStr:
    if len(line) > MOST_OF_A_LINE:
        raise DataError(f"{name} line {number}: more than {MOST_OF_A_LINE // 2**20} MB in one line")
    return line


def _encoding(first: bytes) -> str:
    """That of a mark at the beginning; without one UTF-16 if every other byte of what is mostly ASCII is zero."""
    for mark, encoding in _MARKED:
        if first.startswith(mark):
            return encoding
    even, odd = first[0::2], first[1::2]
    for zeros, zeros_elsewhere, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if len(first) > 3 and zeros.count(0) > 0.4 * len(zeros) and not zeros_elsewhere.count(0):
            return encoding
    return "utf-8"


def _ends_with_returns(first: bytes, encoding: str) -> bool:
    r"""Whether lines end with `\r` alone, as those of old Macs."""
    text = first.decode(encoding, errors="ignore")
    return "\r" in text[:-1] and "\n" not in text  # the last one may be half of a line end that is cut there
