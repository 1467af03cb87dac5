"""The step `examples`: every record, the users of every shard, vocabularies and item attributes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tqdm import tqdm

from preprocessing.checking.coverage import Coverage, read_known_values
from preprocessing.checking.example_rules import check_example
from preprocessing.checking.findings import Findings
from preprocessing.checking.leaks import PromptsOfExamples
from preprocessing.checking.manifests import number, records_of_shard, section
from preprocessing.checking.part_classes import PartClasses
from preprocessing.checking.record_rules import BrokenRule, Record
from preprocessing.checking.shards import ShardReader, complete_shards
from preprocessing.checking.times import PartTimes
from preprocessing.checking.user_rules import UserRanges
from preprocessing.hashing import anonymous
from preprocessing.inspection.schema import read_schema
from preprocessing.records import contract
from preprocessing.records.errors import DamagedRecords
from preprocessing.records.layout import ExamplesDirectory
from preprocessing.records.settings import SETTINGS

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
      folder: the step's folder.
      manifest: its manifest.
      settings: what the rules depend on.
      name: what findings call the folder.
      findings: where they go.
      prompts: looks up what prompts show; None where nothing can be looked up.
      records: kind -> part -> records read.
      coverage: kind -> feature -> part -> share of values in the vocabulary.
      samples: "item" and "user" -> id -> candidates of the records, of the first kind there is.
    """

    folder: Path
    manifest: Mapping[str, Any]
    settings: ExampleSettings
    name: str
    findings: Findings
    prompts: PromptsOfExamples | None = None
    records: dict[str, dict[str, int]] = field(default_factory=dict)
    coverage: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    samples: dict[str, Counter[bytes]] = field(default_factory=dict)

    def run(self) -> None:
        """Checks all kinds of examples."""
        directory = ExamplesDirectory(self.folder)
        for kind in contract.EXAMPLE_KINDS:
            if (self.folder / kind).is_dir():
                try:
                    _KindCheck(self, directory, kind).run()
                except DamagedRecords as error:
                    self.findings.error("damaged_file", f"{self.name}/{kind}", str(error), fix="")


class _KindCheck:
    """Checks one kind of examples, all files of one shard number together."""

    def __init__(self, check: ExamplesCheck, directory: ExamplesDirectory, kind: str):
        self._check = check
        self._kind = kind
        self._directory = directory
        self._reader = ShardReader(read_schema(directory.schema_of(kind)), check.findings)
        self._coverage = [
            Coverage(feature, read_known_values(directory.vocabulary(feature))) for feature in _IDS
        ]
        self._times = PartTimes()
        self._prompts = check.prompts if kind == contract.CTR else None
        self._records = dict.fromkeys(contract.PARTS, 0)
        self._samples: dict[str, Counter[bytes]] = {"item": Counter(), "user": Counter()}
        self._classes = {part: PartClasses() for part in contract.PARTS}

    def run(self) -> None:
        """Reads every file once."""
        name = f"{self._check.name}/{self._kind}"
        shards = {
            part: complete_shards(
                self._directory.part(part, self._kind), f"{name}/{part}", self._check.findings
            )
            for part in contract.PARTS
        }
        files = sorted({path.name for paths in shards.values() for path in paths})
        for file in tqdm(files, desc=name, unit="shard", disable=None):
            settings = self._check.settings
            users = UserRanges(settings.split_by, settings.cap, settings.ordered_by_time)
            for place, (part, paths) in enumerate(shards.items()):
                for path in paths:
                    if path.name == file:
                        self._read(path, part, place, users)
            for message in self._prompts.problems() if self._prompts else ():
                self._check.findings.error("leak_rule", f"{name}/*/{file}", message)
            for problem, message in users.problems():
                self._check.findings.error(problem, f"{name}/*/{file}", message)
        if self._check.settings.split_by == "global_time":
            for message in self._times.problems():
                self._check.findings.error("parts_out_of_order", name, message)
        counted = section(section(section(self._check.manifest, "counts"), "examples"), self._kind)
        for part, classes in self._classes.items():
            expected = number(counted, part)
            classes.check(self._records[part], expected, f"{name}/{part}", self._check.findings)
        self._check.records[self._kind] = self._records
        self._check.samples = self._check.samples or self._samples
        self._check.coverage[self._kind] = {
            coverage.name: coverage.shares() for coverage in self._coverage
        }

    def _read(self, path: Path, part: str, part_number: int, users: UserRanges) -> None:
        name = f"{self._check.name}/{path.relative_to(self._check.folder).as_posix()}"
        expected = records_of_shard(self._check.manifest, path.name, "examples", self._kind, part)
        for place, record in self._reader.records(path, name, expected):
            self._records[part] += 1
            try:
                check_example(record, self._check.settings.history_length)
                self._classes[part].add(record.get(contract.LABEL, ()))
                self._count_ids(record, part_number)
            except BrokenRule as broken:
                self._check.findings.error(broken.check, name, broken.message, place)
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
        for coverage in self._coverage:
            values = record[coverage.name]
            for place in coverage.add(part, values):
                if part != _TRAIN or (
                    coverage.name == contract.ITEM_ID and _is_sampled(record, place)
                ):
                    continue
                shown = values[place].decode("utf-8", "replace")
                if coverage.name == contract.USER_ID:
                    shown = anonymous(shown)
                raise BrokenRule(
                    "not_in_vocabulary",
                    f"{coverage.name} {shown} of a training example is not in its vocabulary",
                )


def _is_sampled(record: Record, place: int) -> bool:
    """True for a candidate that may be a sampled item: one without rating and label."""
    if contract.RATING not in record:
        return False
    return record[contract.RATING][place] == 0 and record[contract.LABEL][place] == 0
