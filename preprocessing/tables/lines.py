"""Text files as blocks of whole lines in UTF-8, whatever they are encoded in.

Blank lines are not records. A line that is not text of its file's encoding stays in its block, so
that it is counted and becomes a dead letter with its number.
"""

from __future__ import annotations

import codecs
from collections.abc import Generator, Iterator

import numpy as np

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.inputs import open_input
from preprocessing.tables.blocks import LineBlock, TableFile

BLOCK_BYTES = 4 << 20
_LONGEST_LINE = 64 << 20
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_KEEP_INVALID = "reki_keep_invalid"


def _lone_surrogate(error: UnicodeError) -> tuple[str, int]:
    """Error handler that puts a lone surrogate, which no text holds, where text cannot be read."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return "\udcff", error.end


codecs.register_error(_KEEP_INVALID, _lone_surrogate)


def require_encoding(encoding: str, key: str) -> None:
    """Checks the name of an encoding.

    Raises:
      ConfigurationError: Python has no text encoding of that name.
    """
    try:
        "".encode(encoding)
    except (LookupError, ValueError) as error:
        raise ConfigurationError(
            f"{key}: '{encoding}' is not a text encoding (for example utf-8, latin-1, cp1252)"
        ) from error


def read_line_blocks(
    file: TableFile, encoding: str, block_bytes: int = BLOCK_BYTES
) -> Generator[LineBlock, None, None]:
    """Yields the lines of a file in blocks of about `block_bytes`, at least one.

    Raises:
      CommandError: a line is longer than 64 MB.
      OSError: the file cannot be read.
    """
    first_line = 1
    pending: list[bytes] = []
    for chunk in _utf8_chunks(file.path, encoding, block_bytes):
        whole, newline, tail = chunk.rpartition(b"\n")
        if newline:
            data = b"".join([*pending, whole, newline])
            yield LineBlock(file.index, first_line, data)
            first_line += data.count(b"\n")
            pending = []
        pending.append(tail)
        if sum(map(len, pending)) > _LONGEST_LINE:
            raise CommandError(
                f"{file.name}: line {first_line} is longer than {_LONGEST_LINE >> 20} MB; "
                "a table has one record on each line"
            )
    rest = b"".join(pending)
    if rest or first_line == 1:
        yield LineBlock(file.index, first_line, rest)


def _utf8_chunks(path: str, encoding: str, block_bytes: int) -> Iterator[bytes]:
    chunks = _stored_chunks(path, block_bytes)
    if codecs.lookup(encoding).name not in ("utf-8", "utf-8-sig", "ascii"):
        chunks = _transcoded(chunks, encoding)
    start = b""
    for chunk in chunks:
        start += chunk
        if len(start) >= len(_BYTE_ORDER_MARK):
            break
    yield start.removeprefix(_BYTE_ORDER_MARK)
    yield from chunks


def _stored_chunks(path: str, block_bytes: int) -> Iterator[bytes]:
    with open_input(path) as file:
        while chunk := file.read(block_bytes):
            yield chunk


def _transcoded(chunks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(errors=_KEEP_INVALID)
    for chunk in chunks:
        yield decoder.decode(chunk).encode(errors="surrogatepass")
    yield decoder.decode(b"", final=True).encode(errors="surrogatepass")


def is_text(data: bytes) -> bool:
    """True for valid UTF-8."""
    if data.isascii():
        return True
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def invalid_text(
    file: TableFile, line: int, encoding: str, error: UnicodeDecodeError
) -> DeadLetter:
    """Dead letter of a line that is not text of the file's encoding."""
    if codecs.lookup(encoding).name in ("utf-8", "utf-8-sig"):
        detail = f"{error.reason} at byte {error.start}"
        return dead_letter(file.name, line, "invalid_utf8", detail)
    return dead_letter(file.name, line, "invalid_encoding", f"not {encoding} text")


def line_numbers(block: LineBlock, data: bytes) -> np.ndarray:
    """[lines] int64 number of each line of a block without blank lines."""
    count = data.count(b"\n") + (not data.endswith(b"\n"))
    return np.arange(block.first_line, block.first_line + count, dtype=np.int64)
