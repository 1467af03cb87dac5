"""A GGUF model file and the name under which its answers are stored."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from configs.command_line import say
from configs.file_hash import file_sha256
from configs.loading import ConfigurationError

_MAGIC = b"GGUF"
_LARGE_BYTES = 1 << 30


@dataclass(frozen=True)
class GgufFile:
    """A model file whose content is known.

    Attributes:
      path: its absolute path.
      bytes: its size.
      modified_ns: time of its last change, nanoseconds.
      sha256: SHA-256 of its content.
    """

    path: str
    bytes: int
    modified_ns: int
    sha256: str

    @property
    def name(self) -> str:
        """File name and hash: the same file has the same name wherever it lies."""
        return f"{Path(self.path).name}@sha256:{self.sha256}"

    def is_still(self, path: Path, status: os.stat_result) -> bool:
        """True when the file at a path has not changed since it was hashed."""
        known = (self.path, self.bytes, self.modified_ns)
        return known == (str(path), status.st_size, status.st_mtime_ns)

    def remember(self, cache: Path) -> None:
        """Writes the hash down, so that an unchanged file need not be read for it again."""
        cache.parent.mkdir(parents=True, exist_ok=True)
        temporary = cache.with_name(f".{cache.name}.partial")
        temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")
        os.replace(temporary, cache)


def read_gguf_file(model: str, cache: Path) -> GgufFile:
    """Hashes a model file, or takes the hash from the cache if size and time are unchanged.

    Args:
      model: path of the file (`generation.model`).
      cache: what `GgufFile.remember` wrote; need not exist.

    Raises:
      ConfigurationError: there is no such file, or it is no GGUF file.
    """
    path = Path(model).absolute()
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"generation.model: '{model}' cannot be read ({error.strerror or error}); the client "
            f"gguf needs the path of a model file (relative paths start at {Path.cwd()})"
        ) from error
    if magic != _MAGIC:
        raise ConfigurationError(
            f"generation.model: '{model}' is no GGUF file (it does not begin with 'GGUF')"
        )
    known = _remembered(cache)
    if known is not None and known.is_still(path, status):
        return known
    if status.st_size > _LARGE_BYTES:
        say(f"hashing {path.name}, {status.st_size / 1e9:.1f} GB, once")
    return GgufFile(str(path), status.st_size, status.st_mtime_ns, file_sha256(path))


def _remembered(cache: Path) -> GgufFile | None:
    try:
        return GgufFile(**json.loads(cache.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
