"""What a record of a TFRecord file must be, by itself and beside the other records of its user."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow.parquet as pq
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format
from google.protobuf.message import DecodeError

from configs.knowledge import SourceAnswers
from preprocessing.inspection.findings import CheckedStep, Findings, number, section
from preprocessing.inspection.inspect import SchemaFeature
from preprocessing.interactions.leak_check import (
    PROMPT_CHECK,
    PromptCheck,
    SeenPrompt,
    check_leaks,
    digest_seen_prompts,
    read_seen_prompts,
)
from preprocessing.interactions.sequences import (
    HISTORY_ONLY,
    SplitRows,
    UserSequences,
    knowledge_boundaries,
)
from preprocessing.interactions.shown_entries import Name
from preprocessing.records import contract
from preprocessing.records.contract import PARTS, DamagedRecords, FeatureType
from preprocessing.records.hashing import anonymous
from preprocessing.records.item_tables import FIXED_COLUMNS
from preprocessing.records.layout import SETTINGS, SHARD_PATTERN, ExamplesDirectory, shard_files
from preprocessing.records.tfrecord_file import read_records

Record: TypeAlias = Mapping[str, Sequence]
"""Feature -> its values: bytes, floats or integers."""


class BrokenRule(Exception):
    """A record is not what it must be.

    Attributes:
      check: a fixed name that can be counted.
      message: what is wrong.
    """

    def __init__(self, check: str, message: str):
        super().__init__(message)
        self.check = check
        self.message = message


def read_record(serialized: bytes, schema: Mapping[str, SchemaFeature]) -> Record:
    """Parses a record and holds it against its schema.

    Raises:
      BrokenRule: it cannot be parsed; a feature is missing, unknown, of another type, has too few
        or too many values, or a number that is not finite.
    """
    try:
        features = Example.FromString(serialized).features.feature
    except DecodeError as error:
        raise BrokenRule("unreadable_record", "not a serialized tf.train.Example") from error
    record = {}
    for name, expected in schema.items():
        if name not in features:
            raise BrokenRule("missing_feature", f"feature '{name}' is missing")
        kind = features[name].WhichOneof("kind")
        if kind != expected.type.value:
            raise BrokenRule(
                "wrong_type", f"feature '{name}' is a {kind}, its schema says {expected.type.value}"
            )
        values = getattr(features[name], kind).value
        count = len(values)
        if count < expected.minimum or (expected.maximum is not None and count > expected.maximum):
            raise BrokenRule(
                "wrong_count",
                f"feature '{name}' has {count} values, its schema says {expected.count}",
            )
        # The sum of finite float32 numbers is finite in float64.
        if expected.type is FeatureType.FLOAT and not math.isfinite(sum(values)):
            raise BrokenRule("not_finite", f"feature '{name}' holds a number that is not finite")
        record[name] = values
    if len(features) != len(record):
        unknown = sorted(set(features) - set(record))
        raise BrokenRule("unknown_feature", f"feature '{unknown[0]}' is not in the schema")
    return record


_DAMAGE = re.compile(r"(?:record \d+|file): (?P<problem>.*?)(?:; run .*)?$", re.DOTALL)


@dataclass(frozen=True)
class ShardReader:
    """Reads records, checks each by itself, and counts them.

    Attributes:
      schema: what records must hold.
      findings: where findings go.
    """

    schema: Mapping[str, SchemaFeature]
    findings: Findings

    def records(self, path: Path, name: str, expected: int | None) -> Iterator[tuple[int, Record]]:
        """Number and features of every sound record; ends at the first damage.

        Args:
          path: a GZIP TFRecord file.
          name: what findings call it.
          expected: records that the manifest counts; None if it does not say.
        """
        read = 0
        try:
            for read, serialized in enumerate(read_records(path), start=1):
                try:
                    yield read, read_record(serialized, self.schema)
                except BrokenRule as broken:
                    self.findings.error(broken.check, name, broken.message, read)
        except DamagedRecords as error:
            self.findings.error("damaged_file", name, _problem(error), read + 1)
            return
        if expected is not None and read != expected:
            self.findings.error(
                "wrong_record_count",
                name,
                f"holds {read:,} records, the manifest counts {expected:,}",
            )


def complete_shards(folder: Path, name: str, findings: Findings) -> list[Path]:
    """The TFRecord files of a folder, in order; those that are there when the set is not whole."""
    try:
        return shard_files(folder)
    except DamagedRecords as error:
        findings.error("incomplete_shards", name, str(error).removeprefix(f"{folder}: "), fix="")
        return sorted(folder.glob(SHARD_PATTERN))


def _problem(error: DamagedRecords) -> str:
    match = _DAMAGE.search(str(error))
    return match["problem"] if match else str(error)


_PROTO = """
name: "reki_tensorflow/example.proto" package: "reki_tensorflow" syntax: "proto3"
message_type {
  name: "BytesList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_BYTES }
}
message_type {
  name: "FloatList" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_FLOAT }
}
message_type {
  name: "Int64List" field { name: "value" number: 1 label: LABEL_REPEATED type: TYPE_INT64 }
}
message_type {
  name: "Feature" oneof_decl { name: "kind" }
  field { name: "bytes_list" number: 1 type_name: "BytesList" oneof_index: 0 }
  field { name: "float_list" number: 2 type_name: "FloatList" oneof_index: 0 }
  field { name: "int64_list" number: 3 type_name: "Int64List" oneof_index: 0 }
}
message_type {
  name: "Features"
  nested_type {
    name: "FeatureEntry" options { map_entry: true }
    field { name: "key" number: 1 type: TYPE_STRING }
    field { name: "value" number: 2 type_name: "Feature" }
  }
  field { name: "feature" number: 1 label: LABEL_REPEATED type_name: "FeatureEntry" }
}
message_type { name: "Example" field { name: "features" number: 1 type_name: "Features" } }
"""


def _example_class() -> Any:
    """The class of `tf.train.Example`, without TensorFlow."""
    pool = descriptor_pool.DescriptorPool()
    pool.Add(text_format.Parse(_PROTO, descriptor_pb2.FileDescriptorProto()))
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("reki_tensorflow.Example"))


Example = _example_class()
"""Class of the message; `Example.FromString` raises `google.protobuf.message.DecodeError`."""

_LABELS = (0.0, 1.0)


def check_example(record: Record, history_length: int, edited: bool = False) -> None:
    """Checks one example of any kind.

    Args:
      record: its features, all there and of the right type.
      history_length: the most interactions that a history holds.
      edited: whether `forget` may have taken items out of histories.

    Raises:
      BrokenRule: a value is not possible.
    """
    if not record[contract.USER_ID][0]:
        raise BrokenRule("empty_id", f"'{contract.USER_ID}' is empty")
    items = record[contract.ITEM_ID]
    if not all(items):
        raise BrokenRule("empty_id", f"'{contract.ITEM_ID}' is empty")
    for name in (contract.LABEL, contract.RATING):
        if name in record and len(record[name]) != len(items):
            raise BrokenRule(
                "unequal_lists",
                f"{len(items)} candidates, but '{name}' has {len(record[name])} values",
            )
    for name in record:
        if name == contract.LABEL or name.startswith(contract.LABEL_PREFIX):
            _require_labels(name, record[name])
    position = record[contract.POSITION][0]
    if position < 0:
        raise BrokenRule("position_range", f"'{contract.POSITION}' is {position}")
    history = len(record[contract.HISTORY_ITEM_ID])
    if history != len(record[contract.HISTORY_RATING]):
        raise BrokenRule(
            "unequal_lists",
            f"the history has {history} items and {len(record[contract.HISTORY_RATING])} ratings",
        )
    if history > min(position, history_length) or (
        history < min(position, history_length) and not edited
    ):
        raise BrokenRule(
            "history_length",
            f"the history has {history} items; with {position} earlier interactions and "
            f"data.history_length = {history_length} it must have {min(position, history_length)}",
        )
    if not 0 <= record[contract.USER_FOLD][0] < contract.USER_FOLDS:
        raise BrokenRule(
            "fold_range",
            f"'{contract.USER_FOLD}' is {record[contract.USER_FOLD][0]}, must be below "
            f"{contract.USER_FOLDS}",
        )


def _require_labels(name: str, values: Sequence[float]) -> None:
    for label in values:
        if label not in _LABELS:
            raise BrokenRule("label_range", f"{name} is {label:g}, must be 0 or 1")


_VIOLATIONS = "leak_violations"


def check_leak_counts(step: CheckedStep) -> None:
    """The number of violations must be 0; sources that nobody could verify are named."""
    file, counts, findings = step.manifest_name, step.counts, step.findings
    violations = number(counts, _VIOLATIONS)
    if violations is None:
        findings.error("leak_rule", file, f"counts no '{_VIOLATIONS}'")
    elif violations:
        findings.error(
            "leak_rule",
            file,
            f"{violations:,} samples were shown to the LLM",
            fix="run 'python -m preprocessing examples' again, which says why",
        )
    unverified = section(counts, "leak_check").get("unverified_sources")
    for source in unverified if isinstance(unverified, list) else ():
        findings.note(
            "unverified_source",
            file,
            f"source '{source}': nothing shows that the LLM saw interactions before k_u only",
        )
    declared = section(section(counts, "leak_check"), "declared_sources")
    for source, seen in declared.items():
        if seen == "training":
            findings.note(
                "declared_source",
                file,
                f"source '{source}': declared to be made from the training part (seen: training)",
            )


@dataclass
class PromptsOfExamples:
    """Looks up what prompts show in the users' logs as the `ctr` examples of a folder hold them.

    A log is pieced together from samples and histories. Where the histories are too short to reach
    back to a user's first interaction, the user is left out.

    Attributes:
      check: how prompts are looked up.
      names: item id -> what prompts may call it.
      seen: user -> the prompts about the user.
      settings: of the manifest.
    """

    check: PromptCheck
    names: Mapping[str, list[Name]]
    seen: Mapping[str, list[SeenPrompt]]
    settings: Mapping[str, Any]
    _logs: dict[str, dict[int, tuple[str, float, bool | None, int]]] = field(default_factory=dict)

    @classmethod
    def read(cls, step: CheckedStep) -> PromptsOfExamples | None:
        """Reads the prompts that the examples were checked with; None if there are none.

        Warns of answers that are not at hand any more, or have changed.
        """
        described = dict(section(step.manifest, PROMPT_CHECK))
        answers = described.pop("answers", {})
        if not answers:
            return None
        check = PromptCheck.model_validate(described)
        digests = section(step.manifest, "seen_interactions")
        seen: dict[str, list[SeenPrompt]] = {}
        for source, files in answers.items():
            source_answers = SourceAnswers(entity="user", **files)
            missing = [path for path in files["individual"] if not Path(path).is_file()]
            if missing:
                problem = f"{missing[0]} is not at hand"
            elif digest_seen_prompts({source: source_answers}, [source]) != {
                source: digests.get(source)
            }:
                problem = "its answers have changed"
            else:
                for batch in read_seen_prompts(source, source_answers):
                    for prompt in batch:
                        seen.setdefault(prompt.user, []).append(prompt)
                continue
            step.findings.warning(
                "prompts_not_checked",
                step.manifest_name,
                f"source '{source}': {problem}, so what its prompts show was not looked up again",
                fix="run 'python -m preprocessing examples' again, with the answers in place",
            )
        items = pq.read_table(ExamplesDirectory(step.folder).item_attributes)
        attributes = [column for column in items.column_names if column not in FIXED_COLUMNS]
        settings = section(step.manifest, SETTINGS)
        return cls(check, check.wording.names(items, attributes), seen, settings)

    def add(self, record: Record, part: int) -> None:
        """Takes in one sample and the history before it."""
        user = record[contract.USER_ID][0].decode("utf-8", "replace")
        if user not in self.seen:
            return
        log = self._logs.setdefault(user, {})
        position = record[contract.POSITION][0]
        history = record.get(contract.HISTORY_ITEM_ID, ())
        ratings = record.get(contract.HISTORY_RATING, ())
        for earlier, (item, rating) in enumerate(
            zip(history, ratings, strict=True), start=position - len(history)
        ):
            log.setdefault(earlier, (item.decode("utf-8", "replace"), rating, None, HISTORY_ONLY))
        label, rating = record[contract.LABEL][0], record[contract.RATING][0]
        if label or rating or not self.settings.get("data.negatives.per_positive"):
            item = record[contract.ITEM_ID][0].decode("utf-8", "replace")
            log[position] = (item, rating, bool(label), part)

    def problems(self) -> list[str]:
        """What the prompts about the users added so far show and must not; forgets the users."""
        whole = {user: log for user, log in self._logs.items() if len(log) == max(log) + 1}
        self._logs = {}
        sequences, split = _log_of(whole, self.settings, self.check.wording.rated)
        seen = [prompt for user in whole for prompt in self.seen[user]]
        leaks = check_leaks(sequences, split, seen, self.check, self.names)
        return [f"a prompt showed a sample: {example}" for example in leaks.examples]


def _log_of(
    logs: Mapping[str, Mapping[int, tuple[str, float, bool | None, int]]],
    settings: Mapping[str, Any],
    rated: bool,
) -> tuple[UserSequences, SplitRows]:
    """Sequences and split of some users' logs: position -> item, rating, label, part."""
    rows = [logs[user][position] for user in logs for position in range(len(logs[user]))]
    counts = np.array([len(log) for log in logs.values()], dtype=np.int64)
    user_of_row = np.repeat(np.arange(len(counts)), counts)
    starts = np.cumsum(counts) - counts
    item_ids = sorted({item for item, *_ in rows})
    numbers = {item: number for number, item in enumerate(item_ids)}
    threshold = float(settings.get("data.positive_rating") or 0) if rated else 1.0
    parts = np.array([part for *_, part in rows], dtype=np.int8)
    zeros = np.zeros(len(rows), dtype=np.int64)
    sequences = UserSequences(
        users=list(logs),
        item_ids=item_ids,
        item_of_row=np.array([numbers[item] for item, *_ in rows], dtype=np.int64),
        ratings=np.array([rating for _, rating, *_ in rows], dtype=np.float64),
        labels=np.array(
            [rating >= threshold if label is None else label for _, rating, label, _ in rows],
            dtype=np.int8,
        ),
        timestamps=zeros,
        given_parts=zeros - 1,
        extra_labels=zeros,
        user_of_row=user_of_row,
        starts=starts,
        counts=counts,
        positions=np.arange(len(rows)) - starts[user_of_row],
    )
    boundaries = knowledge_boundaries(counts, int(settings["split.knowledge_history_cap"]))
    return sequences, SplitRows(boundaries, parts, parts == contract.PARTS.index("train"))


_FAR = 1 << 62


@dataclass
class PartTimes:
    """First and last time of each part."""

    _first: list[int] = field(default_factory=lambda: [_FAR] * len(PARTS))
    _last: list[int] = field(default_factory=lambda: [-_FAR] * len(PARTS))

    def add(self, part: int, time: int) -> None:
        """Takes in one example of a part, given by its index in PARTS."""
        self._first[part] = min(self._first[part], time)
        self._last[part] = max(self._last[part], time)

    def problems(self) -> Iterator[str]:
        """Parts that begin before an earlier one has ended."""
        present = [part for part in range(len(PARTS)) if self._last[part] > -_FAR]
        for part, following in zip(present, present[1:], strict=False):
            if self._last[part] >= self._first[following]:
                yield (
                    f"{PARTS[part]} ends at time {self._last[part]}, {PARTS[following]} begins at "
                    f"{self._first[following]}"
                )


@dataclass
class _Range:
    """Smallest and largest position and time of a user's examples in one part."""

    first_position: int = _FAR
    last_position: int = -_FAR
    first_time: int = _FAR
    last_time: int = -_FAR

    def add(self, position: int, time: int) -> None:
        """Takes in one example."""
        self.first_position = min(self.first_position, position)
        self.last_position = max(self.last_position, position)
        self.first_time = min(self.first_time, time)
        self.last_time = max(self.last_time, time)


@dataclass
class UserRanges:
    """The users of some shards.

    Attributes:
      split_by: `split.by` of the settings.
      cap: `split.knowledge_history_cap` of the settings.
      ordered_by_time: False when the log has an order column: a user's interactions then follow
        each other whatever their times.
    """

    split_by: str
    cap: int
    ordered_by_time: bool = True
    _users: dict[bytes, list[_Range]] = field(default_factory=dict)

    def add(self, user: bytes, part: int, position: int, time: int) -> None:
        """Takes in one example of a part, given by its index in PARTS."""
        ranges = self._users.get(user)
        if ranges is None:
            ranges = self._users[user] = [_Range() for _ in PARTS]
        ranges[part].add(position, time)

    def problems(self) -> Iterator[tuple[str, str]]:
        """Check and message of everything that is wrong, with hashed user ids."""
        for user, ranges in self._users.items():
            name = f"user {anonymous(user.decode('utf-8', 'replace'))}"
            present = [
                (part, part_range)
                for part, part_range in zip(PARTS, ranges, strict=True)
                if part_range.last_position >= 0
            ]
            yield from self._leaks(name, [part_range for _, part_range in present])
            yield from self._order(name, present)

    def _leaks(self, name: str, ranges: list[_Range]) -> Iterator[tuple[str, str]]:
        """A user's last sample is the last interaction, so n_u and k_u follow from positions."""
        interactions = max(part_range.last_position for part_range in ranges) + 1
        boundary = min((interactions + 1) // 2, self.cap)
        first = min(part_range.first_position for part_range in ranges)
        if first < boundary:
            yield (
                "leak_rule",
                f"{name}: an example at position {first}, but of {interactions} interactions the "
                f"LLM may have seen the first {boundary}",
            )

    def _order(self, name: str, present: list[tuple[str, _Range]]) -> Iterator[tuple[str, str]]:
        if self.split_by == "user" and len(present) > 1:
            parts = " and ".join(part for part, _ in present)
            yield "user_in_two_parts", f"{name}: has examples in {parts}"
        if self.split_by != "time":
            return
        for (part, earlier), (next_part, later) in zip(present, present[1:], strict=False):
            if earlier.last_position >= later.first_position:
                yield (
                    "parts_out_of_order",
                    f"{name}: position {earlier.last_position} is in {part}, the earlier or equal "
                    f"position {later.first_position} in {next_part}",
                )
            elif self.ordered_by_time and earlier.last_time > later.first_time:
                yield (
                    "parts_out_of_order",
                    f"{name}: time {earlier.last_time} is in {part}, the earlier time "
                    f"{later.first_time} in {next_part}",
                )
