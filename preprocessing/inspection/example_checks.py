"""The step `examples`, checked: records, parts, classes, counts, item tables, vocabularies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from configs.data import Data
from configs.progress import progress
from preprocessing.examples_manifest import LOOK_AT_LABELS, LOOK_AT_SPLIT
from preprocessing.inspection.findings import (
    CheckedStep,
    CountMismatch,
    Findings,
    number,
    records_of_shard,
    require_equal,
    section,
)
from preprocessing.inspection.inspect import read_schema
from preprocessing.inspection.record_checks import (
    BrokenRule,
    PartTimes,
    PromptsOfExamples,
    Record,
    ShardReader,
    UserRanges,
    check_example,
    complete_shards,
)
from preprocessing.records import contract, item_tables
from preprocessing.records.contract import ITEM_ID, PARTS, DamagedRecords
from preprocessing.records.coverage import IdCoverage
from preprocessing.records.hashing import anonymous
from preprocessing.records.layout import FORGOTTEN, SETTINGS, ExamplesDirectory


class PartClasses:
    """Counts the labels of one part of one kind of examples."""

    def __init__(self) -> None:
        self._labels = 0
        self._positives = 0

    def add(self, labels: Iterable[float]) -> None:
        """Counts the labels of one example; none for a kind without labels."""
        for label in labels:
            self._labels += 1
            self._positives += label == 1

    def check(self, records: int, expected: int | None, name: str, findings: Findings) -> None:
        """Warns when the part is empty or has one class.

        Args:
          records: records of the part that were read.
          expected: records that the manifest counts; None if it does not say. Records that are
            missing are damage, which other checks report.
          name: what findings call the part.
          findings: where they go.
        """
        if not records and not expected:
            findings.warning("empty_part", name, "the part has no examples", fix=LOOK_AT_SPLIT)
        elif self._labels and self._positives in (0, self._labels):
            label = int(self._positives > 0)
            message = f"all {self._labels:,} labels of the part are {label}"
            findings.warning("one_class", name, message, fix=LOOK_AT_LABELS)


_WARN_BELOW: float = Data.model_fields["warn_coverage_below"].default


@dataclass
class Coverage:
    """Counts values of one feature, in the vocabulary and outside.

    Attributes:
      name: the feature.
      vocabulary: its known values.
    """

    name: str
    vocabulary: frozenset[bytes]
    _values: list[int] = field(default_factory=lambda: [0] * len(PARTS))
    _num_known: list[int] = field(default_factory=lambda: [0] * len(PARTS))

    def add(self, part: int, values: Sequence[bytes]) -> list[int]:
        """Counts values of a part; returns the positions of those outside."""
        unknown = [index for index, value in enumerate(values) if value not in self.vocabulary]
        self._values[part] += len(values)
        self._num_known[part] += len(values) - len(unknown)
        return unknown

    def shares(self) -> dict[str, float]:
        """Part -> share of known values, for parts that have values."""
        return {
            part: round(num_known / values, 6)
            for part, values, num_known in zip(PARTS, self._values, self._num_known, strict=True)
            if values
        }


@dataclass
class KnowledgeCoverage:
    """How many samples of a work directory have a vector of each source, by item or by user.

    Attributes:
      samples: "item" and "user" -> id -> samples of all parts.
      log: files of the log and its catalogue, as the manifest of the examples names them.
    """

    samples: Mapping[str, Mapping[bytes, int]] = field(default_factory=dict)
    log: Sequence[str] = ()
    _sources: dict[str, tuple[str, Mapping[str, Any], Set[bytes]]] = field(default_factory=dict)

    def add_source(self, name: str, manifest: Mapping[str, Any], entities: Set[bytes]) -> None:
        """Notes the vectors of a source.

        Args:
          name: what findings call its folder; its last part is the source.
          manifest: its manifest.
          entities: ids that have a vector.
        """
        source = name.rsplit("/", 1)[-1]
        entity = section(manifest, SETTINGS).get(f"knowledge.answers.{source}.entity")
        if isinstance(entity, str):
            self._sources[name] = (entity, manifest, entities)

    def check(self, findings: Findings) -> dict[str, dict[str, Any]]:
        """Compares ids: folder of each source -> counts and shares, see `IdCoverage`."""
        shares: dict[str, dict[str, Any]] = {}
        for name, (entity, manifest, entities) in self._sources.items():
            counts = self.samples.get(entity)
            if not counts or not entities:
                continue
            coverage = IdCoverage.measure(
                entity,
                {value.decode("utf-8", "replace"): count for value, count in counts.items()},
                {value.decode("utf-8", "replace") for value in entities},
                "samples",
            )
            shares[name] = coverage.as_dictionary()
            made_from = ", ".join(section(manifest, "inputs")) or name
            message = (
                f"{coverage.covered_ids:,} of the {coverage.ids:,} {entity}s of the samples and "
                f"{coverage.share:.1%} of the samples have a vector; the log {', '.join(self.log)} "
                f"has ids such as {_listed(coverage.lacking)}, {made_from} such as "
                f"{_listed(coverage.unused)}"
            )
            fix = "give the answers the log's ids with 'python -m preprocessing import --ids FILE'"
            if coverage.is_empty:
                findings.error("ids_do_not_meet", name, message, fix=fix)
            elif coverage.share < _WARN_BELOW:
                findings.warning("few_ids_meet", name, message, fix)
        return shares


def _listed(ids: Sequence[str]) -> str:
    return ", ".join(f"'{value}'" for value in ids) or "none"


def check_example_counts(step: CheckedStep) -> None:
    """Compares the counts of a manifest with each other."""
    try:
        _add_up(step.manifest)
    except CountMismatch as mismatch:
        step.findings.error("counts_do_not_add_up", step.manifest_name, str(mismatch))


def _add_up(manifest: Mapping[str, Any]) -> None:
    """Raises CountMismatch when a total is not the sum of its parts."""
    counts = section(manifest, "counts")
    samples = _number(counts, "samples")
    parts = section(counts, "parts")
    require_equal(
        "counts.samples",
        samples,
        "its parts add up to",
        sum(_number(parts, part) for part in PARTS),
    )
    require_equal(
        "counts.records_out",
        _number(counts, "records_out"),
        "samples that were not sampled and history_only add up to",
        samples - _number(counts, "sampled_negatives") + _number(counts, "history_only"),
    )
    shards = manifest.get("shards")
    listed = shards if isinstance(shards, list) else []
    entries = [entry for entry in listed if isinstance(entry, Mapping)]
    for kind, by_part in section(counts, "examples").items():
        for part in PARTS:
            in_shards = sum(
                number(section(section(entry, "examples"), kind), part) or 0 for entry in entries
            )
            require_equal(
                f"counts.examples.{kind}.{part}",
                _number(by_part if isinstance(by_part, Mapping) else {}, part),
                "the shards add up to",
                in_shards,
            )


def _number(tree: Mapping[str, Any], name: str) -> int:
    value = number(tree, name)
    if value is None:
        raise CountMismatch(f"there is no whole number '{name}' where one belongs")
    return value


_ROWS_PER_BATCH = 1 << 16


def check_vocabularies(step: CheckedStep) -> None:
    """Reads every vocabulary and compares its size with the manifest."""
    directory = ExamplesDirectory(step.folder)
    sizes = section(step.counts, "vocabularies")
    for vocabulary in sizes:
        size = number(sizes, vocabulary)
        path = directory.vocabulary(vocabulary)
        file = f"{step.name}/{path.relative_to(step.folder).as_posix()}"
        try:
            values = step.vocabulary(vocabulary)
        except DamagedRecords as error:
            step.findings.error("damaged_file", file, str(error).removeprefix(f"{path}: "))
            continue
        if size is not None and len(values) != size:
            step.findings.error(
                "wrong_record_count",
                file,
                f"has {len(values):,} values, the manifest says {size:,}",
            )


def check_item_attributes(step: CheckedStep) -> None:
    """Columns, order and number of the rows, and that every item of the vocabulary has one."""
    findings = step.findings
    path = ExamplesDirectory(step.folder).item_attributes
    file = f"{step.name}/{path.name}"
    try:
        with pq.ParquetFile(path) as opened:
            for column, column_type in item_tables.FIXED_COLUMNS.items():
                index = opened.schema_arrow.get_field_index(column)
                if index < 0 or opened.schema_arrow.field(index).type != column_type:
                    findings.error("wrong_type", file, f"has no column '{column}', {column_type}")
                    return
            lacking = {value.decode() for value in step.vocabulary(ITEM_ID)}
            rows = _check_item_ids(opened, lacking, file, findings)
    except (OSError, pa.ArrowException) as error:
        findings.error("damaged_file", file, f"not a whole Parquet file ({error})")
        return
    except DamagedRecords:
        return  # told by check_vocabularies
    expected = number(step.counts, "items")
    if expected is not None and rows != expected:
        findings.error(
            "wrong_record_count", file, f"has {rows:,} rows, the manifest counts {expected:,} items"
        )
    if lacking:
        findings.error(
            "item_without_attributes",
            file,
            f"lacks {len(lacking):,} items of the vocabulary, e.g. {min(lacking)}",
        )


def _check_item_ids(
    opened: pq.ParquetFile, lacking: set[str], file: str, findings: Findings
) -> int:
    """Number of rows; takes their items out of `lacking`."""
    rows, previous = 0, ""
    for batch in opened.iter_batches(_ROWS_PER_BATCH, columns=[item_tables.ITEM_ID]):
        for item in batch.column(0).to_pylist():
            rows += 1
            if item is None or (rows > 1 and item <= previous):
                findings.error("not_sorted", file, "item ids are not sorted, or not unique", rows)
            previous = item or ""
            lacking.discard(previous)
    return rows


_TRAIN = 0
_IDS = (contract.USER_ID, contract.ITEM_ID)


@dataclass(frozen=True)
class ExampleSettings:
    """The settings that rules depend on.

    Attributes:
      history_length: `data.history_length`.
      split_by: `split.by`.
      cap: `split.knowledge_history_cap`.
      ordered_by_time: False when `data.interactions.columns.order` is set.
    """

    history_length: int
    split_by: str
    cap: int
    ordered_by_time: bool = True


def settings_of(manifest: Mapping[str, Any]) -> ExampleSettings | None:
    """The settings in a manifest; None if they are not whole."""
    settings = section(manifest, SETTINGS)
    length = number(settings, "data.history_length")
    cap = number(settings, "split.knowledge_history_cap")
    split_by = settings.get("split.by")
    if length is None or cap is None or not isinstance(split_by, str):
        return None
    ordered_by_time = settings.get("data.interactions.columns.order") is None
    return ExampleSettings(length, split_by, cap, ordered_by_time)


@dataclass
class ExamplesCheck:
    """Checks the examples of one folder.

    Attributes:
      step: the step.
      settings: what the rules depend on.
      prompts: looks up what prompts show; None where nothing can be looked up.
      records: kind -> part -> records read.
      coverage: kind -> feature -> part -> share of values in the vocabulary.
      samples: "item" and "user" -> id -> candidates of the records, of the first kind there is.
      profiled: users whose records hold a value of a user attribute.
    """

    step: CheckedStep
    settings: ExampleSettings
    prompts: PromptsOfExamples | None = None
    records: dict[str, dict[str, int]] = field(default_factory=dict)
    coverage: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    samples: dict[str, Counter[bytes]] = field(default_factory=dict)
    profiled: set[bytes] = field(default_factory=set)

    def run(self) -> None:
        """Checks all kinds of examples, and whether users of theirs have profiles."""
        for kind in contract.EXAMPLE_KINDS:
            if (self.step.folder / kind).is_dir():
                try:
                    _KindCheck(self, kind).run()
                except DamagedRecords as error:
                    name = f"{self.step.name}/{kind}"
                    self.step.findings.error("damaged_file", name, str(error), fix="")
        self._check_profiles()

    def _check_profiles(self) -> None:
        """Whether the ids of the profiles, where there are any, are those of the log."""
        profiles = number(section(self.step.counts, "profiles"), "records_out")
        users = len(self.samples.get("user", ()))
        if not profiles or not users:
            return
        fix = (
            "name the columns that hold the same ids in data.interactions.columns.user and "
            "data.profiles.user, or rewrite one of the files"
        )
        counted = section(section(self.step.counts, "coverage"), "profiles")
        share = counted.get("share_of_training_interactions")
        if not self.profiled:
            message = f"{profiles:,} users have profiles, and none of the {users:,} of the samples"
            self.step.findings.error("ids_do_not_meet", self.step.name, message, fix=fix)
        elif isinstance(share, float) and share < _WARN_BELOW:
            message = f"users with profiles have {share:.1%} of the training interactions"
            self.step.findings.warning("few_ids_meet", self.step.name, message, fix)


class _KindCheck:
    """Checks one kind of examples, all files of one shard number together."""

    def __init__(self, check: ExamplesCheck, kind: str):
        self._check = check
        self._step = check.step
        self._kind = kind
        self._edited = FORGOTTEN in check.step.counts
        self._directory = ExamplesDirectory(check.step.folder)
        schema = read_schema(self._directory.schema_of(kind))
        self._reader = ShardReader(schema, check.step.findings)
        self._coverage = [Coverage(feature, check.step.vocabulary(feature)) for feature in _IDS]
        self._profile = [name for name in schema if name.startswith(contract.PROFILE_PREFIX)]
        self._times = PartTimes()
        self._prompts = check.prompts if kind == contract.CTR else None
        self._records = dict.fromkeys(contract.PARTS, 0)
        self._samples: dict[str, Counter[bytes]] = {"item": Counter(), "user": Counter()}
        self._classes = {part: PartClasses() for part in contract.PARTS}

    def run(self) -> None:
        """Reads every file once."""
        name = f"{self._step.name}/{self._kind}"
        shards = {
            part: complete_shards(
                self._directory.part(part, self._kind), f"{name}/{part}", self._step.findings
            )
            for part in contract.PARTS
        }
        files = sorted({path.name for paths in shards.values() for path in paths})
        for file in progress(files, desc=name, unit="shard"):
            settings = self._check.settings
            users = UserRanges(settings.split_by, settings.cap, settings.ordered_by_time)
            for part_number, (part, paths) in enumerate(shards.items()):
                for path in paths:
                    if path.name == file:
                        self._read(path, part, part_number, users)
            for message in self._prompts.problems() if self._prompts else ():
                self._step.findings.error("leak_rule", f"{name}/*/{file}", message)
            for problem, message in users.problems():
                self._step.findings.error(problem, f"{name}/*/{file}", message)
        if self._check.settings.split_by == "global_time":
            for message in self._times.problems():
                self._step.findings.error("parts_out_of_order", name, message)
        counted = section(section(self._step.counts, "examples"), self._kind)
        for part, classes in self._classes.items():
            expected = number(counted, part)
            classes.check(self._records[part], expected, f"{name}/{part}", self._step.findings)
        self._check.records[self._kind] = self._records
        self._check.samples = self._check.samples or self._samples
        self._check.coverage[self._kind] = {
            coverage.name: coverage.shares() for coverage in self._coverage
        }

    def _read(self, path: Path, part: str, part_number: int, users: UserRanges) -> None:
        name = f"{self._step.name}/{path.relative_to(self._step.folder).as_posix()}"
        expected = records_of_shard(self._step.manifest, path.name, "examples", self._kind, part)
        for number_in_file, record in self._reader.records(path, name, expected):
            self._records[part] += 1
            try:
                check_example(record, self._check.settings.history_length, self._edited)
                self._classes[part].add(record.get(contract.LABEL, ()))
                self._count_ids(record, part_number)
            except BrokenRule as broken:
                self._step.findings.error(broken.check, name, broken.message, number_in_file)
                continue
            time = record[contract.TIMESTAMP][0]
            users.add(record[contract.USER_ID][0], part_number, record[contract.POSITION][0], time)
            self._times.add(part_number, time)
            if self._prompts:
                self._prompts.add(record, part_number)

    def _count_ids(self, record: Record, part: int) -> None:
        """Counts known ids.

        Raises:
          BrokenRule: an id of the training part is not in its vocabulary.
        """
        items = record[contract.ITEM_ID]
        self._samples["item"].update(items)
        self._samples["user"][record[contract.USER_ID][0]] += len(items)
        if any(record[name] for name in self._profile):
            self._check.profiled.add(record[contract.USER_ID][0])
        for coverage in self._coverage:
            values = record[coverage.name]
            for index in coverage.add(part, values):
                if part != _TRAIN or (
                    coverage.name == contract.ITEM_ID and _is_sampled(record, index)
                ):
                    continue
                shown = values[index].decode("utf-8", "replace")
                if coverage.name == contract.USER_ID:
                    shown = anonymous(shown)
                raise BrokenRule(
                    "not_in_vocabulary",
                    f"{coverage.name} {shown} of a training example is not in its vocabulary",
                )


def _is_sampled(record: Record, index: int) -> bool:
    """True for a candidate that may be a sampled item: one without rating and label."""
    if contract.RATING not in record:
        return False
    return record[contract.RATING][index] == 0 and record[contract.LABEL][index] == 0
