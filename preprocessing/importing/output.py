"""The folder that `import` writes: complete, or as it was before."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from preprocessing import storage
from preprocessing.dead_letter_runs import DeadLetterRuns
from preprocessing.dead_letters import DeadLetter
from preprocessing.importing.whole_folder import written_whole
from preprocessing.knowledge.answers import Answer

_PLAIN, _COMPRESSED = "answers.jsonl", "answers.jsonl.gz"
_DEAD_LETTERS = "dead_letters.jsonl"
_SUMMARY = "summary.json"
_RUNS = "dead_letters.runs"


@dataclass(frozen=True)
class ImportFolder:
    """Where things are in a folder of imported answers.

    Attributes:
      path: the folder.
      compressed: whether the answers are gzipped.
    """

    path: Path
    compressed: bool = False

    @property
    def answers(self) -> Path:
        """Accepted answers, JSON lines."""
        return self.path / (_COMPRESSED if self.compressed else _PLAIN)

    @property
    def dead_letters(self) -> Path:
        """Rejected records, JSON lines with file, line, reason and detail."""
        return self.path / _DEAD_LETTERS

    @property
    def summary(self) -> Path:
        """Counts and quality."""
        return self.path / _SUMMARY


class ImportWriter:
    """Writes into a hidden folder inside the target.

    Args:
      folder: the hidden folder, laid out like the target.
    """

    def __init__(self, folder: ImportFolder):
        self._folder = folder
        self._files = ExitStack()
        self._answers = _open_text(folder.answers, self._files)
        self._letters = DeadLetterRuns(folder.path / _RUNS)

    def write_answer(self, answer: Answer) -> None:
        """Adds an answer."""
        with storage.errors_name(self._folder.answers):
            self._answers.write(json.dumps(answer.record(), allow_nan=False) + "\n")

    def write_dead_letter(self, letter: DeadLetter) -> None:
        """Adds a dead letter, in any order."""
        self._letters.add([letter])

    def finish(self, summary: Mapping[str, object]) -> None:
        """Writes what needs all records: the sorted dead letters and the summary."""
        with storage.errors_name(self._folder.answers):
            self._files.close()
        self._letters.write(self._folder.dead_letters)
        text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
        with storage.errors_name(self._folder.summary):
            self._folder.summary.write_text(text, encoding="utf-8")

    def give_up(self) -> None:
        """Closes what is open, whether or not the disk takes the rest of it."""
        with suppress(OSError):
            self._files.close()


@contextmanager
def writing(folder: ImportFolder) -> Iterator[ImportWriter]:
    """Gives a writer whose files are moved into the folder when the block ends well.

    The summary is moved last: where it is new, everything is.

    Raises:
      ConfigurationError: the path is a file.
    """
    names = [path.name for path in (folder.answers, folder.dead_letters, folder.summary)]
    with written_whole(folder.path, names) as path:
        hidden = ImportFolder(path, folder.compressed)
        writer = ImportWriter(hidden)
        try:
            yield writer
        except BaseException:
            writer.give_up()
            raise
    # Answers of an earlier import with the other compression are not this import's.
    ImportFolder(folder.path, not folder.compressed).answers.unlink(missing_ok=True)


def _open_text(path: Path, files: ExitStack) -> IO[str]:
    """Opens a new text file, gzipped if its name ends so; equal texts give equal bytes.

    Args:
      path: the file.
      files: closes it, and what lies between.
    """
    if path.suffix != ".gz":
        return files.enter_context(path.open("w", encoding="utf-8"))
    stored = files.enter_context(path.open("wb"))
    packed = gzip.GzipFile(filename="", fileobj=stored, mode="wb", mtime=0)
    return files.enter_context(io.TextIOWrapper(cast(IO[bytes], packed), encoding="utf-8"))
