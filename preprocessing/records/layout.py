"""Where everything lies under a scenario's work directory.

Names relative to a step's folder are what workers of a pipeline use, whose folder may be a URL.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from preprocessing.records.contract import CTR
from preprocessing.records.errors import DamagedRecords

DEAD_LETTERS_FILE = "dead_letters.jsonl"
ITEM_ATTRIBUTES_FILE = "item_attributes.parquet"
VECTOR_STATISTICS_FILE = "statistics.npz"

_SHARD = re.compile(r"part-(\d{5})-of-(\d{5})\.tfrecord\.gz")


def shard_name(index: int, count: int) -> str:
    """Name of a TFRecord file, e.g. `part-00000-of-00002.tfrecord.gz`."""
    return f"part-{index:05d}-of-{count:05d}.tfrecord.gz"


def examples_shard(kind: str, part: str, index: int, count: int) -> str:
    """Name of a TFRecord file of examples, relative to `examples/`."""
    return f"{kind}/{part}/{shard_name(index, count)}"


def fold_folder(fold: int) -> str:
    """Folder of vectors that were made without a user fold, relative to `knowledge/<source>/`."""
    return f"without_fold_{fold}"


def vocabulary_file(name: str) -> str:
    """Name of a vocabulary, relative to `examples/`."""
    return f"vocabularies/{name}.txt"


def schema_file(kind: str) -> str:
    """Name of the schema of a kind of examples, relative to `examples/`."""
    return "schema.pbtxt" if kind == CTR else f"schema_{kind}.pbtxt"


def shard_files(folder: Path) -> list[Path]:
    """All shards of a folder, in order.

    Raises:
      DamagedRecords: there are none, one is missing, or shards of two runs are mixed.
    """
    found = {}
    for path in sorted(folder.glob("part-*.tfrecord.gz")):
        match = _SHARD.fullmatch(path.name)
        if match:
            found[path] = (int(match[1]), int(match[2]))
    if not found:
        raise DamagedRecords(
            f"{folder}: no TFRecord files; run 'python -m preprocessing all' first"
        )
    counts = {count for _, count in found.values()}
    indices = [index for index, _ in found.values()]
    if len(counts) > 1 or indices != list(range(counts.pop())):
        raise DamagedRecords(
            f"{folder}: the set of shards is incomplete: {', '.join(path.name for path in found)}; "
            "run the preprocessing step again with --force"
        )
    return list(found)


@dataclass(frozen=True)
class StepDirectory:
    """What the folder of every step holds."""

    path: Path

    @property
    def manifest(self) -> Path:
        """Counts, hashes and checksums of the step."""
        return self.path / "manifest.json"

    @property
    def dead_letters(self) -> Path:
        """Rejected records, JSON lines with file, line, reason and detail."""
        return self.path / DEAD_LETTERS_FILE


@dataclass(frozen=True)
class KnowledgeDirectory(StepDirectory):
    """Knowledge vectors of one source."""

    def shard(self, index: int, count: int) -> Path:
        """Path of one TFRecord file."""
        return self.path / shard_name(index, count)

    @property
    def shards(self) -> list[Path]:
        """All TFRecord files, in order."""
        return shard_files(self.path)

    @property
    def is_cross_fitted(self) -> bool:
        """True when there are vectors without each user fold, beside those from all users."""
        return (self.path / fold_folder(0)).is_dir()

    def shards_without_fold(self, fold: int) -> list[Path]:
        """TFRecord files of the vectors that were made without a user fold, in order."""
        return shard_files(self.path / fold_folder(fold))

    @property
    def statistics(self) -> Path:
        """Mean and standard deviation of every number of the vectors, NumPy arrays."""
        return self.path / VECTOR_STATISTICS_FILE


@dataclass(frozen=True)
class ExamplesDirectory(StepDirectory):
    """Examples and what belongs to them."""

    def part(self, part: str, kind: str = CTR) -> Path:
        """Folder of one part, train, validation or test, of one kind of examples."""
        return self.path / kind / part

    def shard(self, part: str, index: int, count: int, kind: str = CTR) -> Path:
        """Path of one TFRecord file."""
        return self.path / examples_shard(kind, part, index, count)

    def shards(self, part: str, kind: str = CTR) -> list[Path]:
        """All TFRecord files of a part, in order."""
        return shard_files(self.part(part, kind))

    @property
    def item_attributes(self) -> Path:
        """Attributes and rating statistics of every item, Parquet."""
        return self.path / ITEM_ATTRIBUTES_FILE

    @property
    def vocabularies(self) -> Path:
        """Folder of the vocabularies."""
        return self.path / "vocabularies"

    def vocabulary(self, name: str) -> Path:
        """Vocabulary of ids or of a categorical attribute, one value a line.

        Args:
          name: `item_id`, `user_id`, an item attribute, or `profile_<name>` of a user attribute.
        """
        return self.path / vocabulary_file(name)

    @property
    def schema(self) -> Path:
        """Schema of the CTR examples, TensorFlow Metadata in text format."""
        return self.schema_of(CTR)

    def schema_of(self, kind: str) -> Path:
        """Schema of a kind of examples."""
        return self.path / schema_file(kind)


class WorkDirectory:
    """All paths under `work_dir` of a scenario.

    Attributes:
      path: the work directory itself.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def examples(self) -> ExamplesDirectory:
        """Examples, item attributes, vocabularies and schema."""
        return ExamplesDirectory(self.path / "examples")

    def knowledge(self, source: str) -> KnowledgeDirectory:
        """Knowledge vectors of one source."""
        return KnowledgeDirectory(self.path / "knowledge" / source)
