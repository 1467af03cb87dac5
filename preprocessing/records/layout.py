"""Where everything lies under a scenario's work directory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from preprocessing.records.errors import DamagedRecords

_SHARD = re.compile(r"part-(\d{5})-of-(\d{5})\.tfrecord\.gz")


def shard_name(index: int, count: int) -> str:
    """Name of a TFRecord file, e.g. `part-00000-of-00002.tfrecord.gz`."""
    return f"part-{index:05d}-of-{count:05d}.tfrecord.gz"


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
        return self.path / "dead_letters.jsonl"


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


@dataclass(frozen=True)
class ExamplesDirectory(StepDirectory):
    """CTR examples and what belongs to them."""

    def part(self, part: str) -> Path:
        """Folder of one part: train, validation or test."""
        return self.path / "ctr" / part

    def shard(self, part: str, index: int, count: int) -> Path:
        """Path of one TFRecord file."""
        return self.part(part) / shard_name(index, count)

    def shards(self, part: str) -> list[Path]:
        """All TFRecord files of a part, in order."""
        return shard_files(self.part(part))

    @property
    def item_attributes(self) -> Path:
        """Attributes and rating statistics of every item, Parquet."""
        return self.path / "item_attributes.parquet"

    @property
    def vocabularies(self) -> Path:
        """Folder of the vocabularies."""
        return self.path / "vocabularies"

    def vocabulary(self, name: str) -> Path:
        """Vocabulary of `item_id`, `user_id` or a categorical attribute, one value a line."""
        return self.vocabularies / f"{name}.txt"

    @property
    def schema(self) -> Path:
        """Schema of the examples, TensorFlow Metadata in text format."""
        return self.path / "schema.pbtxt"


class WorkDirectory:
    """All paths under `work_dir` of a scenario.

    Attributes:
      path: the work directory itself.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)

    @property
    def examples(self) -> ExamplesDirectory:
        """CTR examples, item attributes, vocabularies and schema."""
        return ExamplesDirectory(self.path / "examples")

    def knowledge(self, source: str) -> KnowledgeDirectory:
        """Knowledge vectors of one source."""
        return KnowledgeDirectory(self.path / "knowledge" / source)
