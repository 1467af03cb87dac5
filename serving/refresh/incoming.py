"""What arrives: answers and vectors, read, checked, encoded, accepted or rejected."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from configs.command_line import CommandError, say
from configs.knowledge import Links, SourceAnswers
from configs.loading import ConfigurationError
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.formats import Expected
from preprocessing.answers.names import LINKS, lists_for_links
from preprocessing.answers.reading import choose_formats, examine
from preprocessing.answers.record import Answer, Location, RejectedAnswer
from preprocessing.answers.texts import AnswerTexts, answer_texts
from preprocessing.encoders.text_encoder import TextEncoder, encoder_class
from preprocessing.inputs import input_checksums
from preprocessing.links.known_links import ExtendedLinks, read_known_links
from preprocessing.links.linking import NamesOfAnswers
from preprocessing.records.contract import COLLECTIVE
from preprocessing.records.forgotten import Forgotten
from preprocessing.vector_files import (
    Problem,
    parts_of,
    problem_of,
    read_part,
    usable_vector,
    vector_files,
)
from serving.refresh.version import RefreshDescription, SourceDescription

REASONS: Mapping[str, str] = {
    "unknown_source": "the model reads no source of this name",
    "unknown_group": "a collective answer about a group that no answer of the model is of",
    "vectors_only": "the source's vectors were made elsewhere: bring vectors, not answers",
    "no_links": "the answer names no item that has links",
    "has_links": "an answer about a group, and the item has links already",
}
"""Reasons of a refresh alone; all others are those of `preprocessing import` and `encode`."""


@dataclass(frozen=True)
class Entry:
    """What a record says about one source.

    Attributes:
      location: the record.
      source: a source of the model.
      collective: whether it is about a group.
      entity_id: raw id of an item, user or group.
      text: to be encoded; None where there is a vector, or names.
      vector: made elsewhere; None where there is an answer.
      names: of items, that the answer lists; None where it lists none.
      of_group: whether the answer is about a group, of which this is a member.
    """

    location: Location
    source: str
    collective: bool
    entity_id: str
    text: str | None = None
    vector: np.ndarray | None = None
    names: Sequence[object] | None = None
    of_group: bool = False


@dataclass
class IncomingRecords:
    """All records of a refresh.

    A record is accepted when at least one source of the model can use it.

    Attributes:
      locations: every record read.
      entries: what the sound ones say, in the order of the records.
      rejections: record -> reason and detail, the first one found.
      left_out: record, reason and detail of members for which an answer about a group is of no use.
    """

    locations: list[Location] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    rejections: dict[Location, tuple[str, str]] = field(default_factory=dict)
    left_out: list[tuple[Location, str, str]] = field(default_factory=list)

    def reject_entry(self, entry: Entry, reason: str, detail: str) -> None:
        """Notes why an entry is of no use, and which member of a group it is about."""
        if entry.of_group:
            self.reject_member(entry.location, reason, f"'{entry.entity_id}': {detail}")
        else:
            self.reject(entry.location, reason, detail)

    def reject_member(self, location: Location, reason: str, detail: str) -> None:
        """Notes why an answer about a group is of no use for one of its members."""
        self.left_out.append((location, reason, detail))
        self.reject(location, reason, detail)

    def reject(self, location: Location, reason: str, detail: str) -> None:
        """Notes why a record, or one of its entries, is of no use."""
        self.rejections.setdefault(location, (reason, detail))

    def leave_out(self, forgotten: Forgotten, description: RefreshDescription) -> None:
        """Rejects what is about forgotten items and users.

        Args:
          forgotten: whom the next version is not to know.
          description: of the version.
        """
        kept = []
        for entry in self.entries:
            entity = description.sources[entry.source].entity
            if not entry.collective and forgotten.has(entity, entry.entity_id):
                self.reject_entry(entry, "forgotten", f"the {entity} was forgotten")
            else:
                kept.append(entry)
        self.entries = kept

    def summary(self, used: Sequence[Entry]) -> dict[str, Any]:
        """Counts that add up: read = accepted + rejected.

        Args:
          used: entries that became knowledge.
        """
        rejected = self.rejected(used)
        reasons = Counter(reason for reason, _ in rejected.values())
        members = Counter(reason for _, reason, _ in self._members_left_out(used))
        return {
            "read": len(self.locations),
            "accepted": len(self.locations) - len(rejected),
            "rejected": len(rejected),
            "rejected_by_reason": dict(sorted(reasons.items())),
            "members_left_out": dict(sorted(members.items())),
        }

    def rejected(self, used: Sequence[Entry]) -> dict[Location, tuple[str, str]]:
        """The records that no used entry is from, with reason and detail."""
        accepted = {entry.location for entry in used}
        return {
            location: self.rejections[location]
            for location in self.locations
            if location not in accepted
        }

    def letters(self, used: Sequence[Entry]) -> list[tuple[Location, str, str]]:
        """Record, reason and detail of rejected records, and of members left out of others."""
        rejected = [(location, *why) for location, why in self.rejected(used).items()]
        return [*rejected, *self._members_left_out(used)]

    def _members_left_out(self, used: Sequence[Entry]) -> list[tuple[Location, str, str]]:
        accepted = {entry.location for entry in used}
        return [left_out for left_out in self.left_out if left_out[0] in accepted]


@dataclass(frozen=True)
class AnswerFiles:
    """Answer files and how they are read; see `preprocessing.answers.importing`.

    Attributes:
      paths: the files.
      format_name: name of a format, or "auto".
      extraction: "individual" or "collective"; None for what a record says.
      thresholds: when an answer counts as bad.
    """

    paths: Sequence[str] = ()
    format_name: str = "auto"
    extraction: str | None = None
    thresholds: Thresholds = Thresholds()


def check_source(description: RefreshDescription, source: str, version: str) -> None:
    """Makes sure that the model reads a source and that it may change.

    Args:
      description: of the version.
      source: the value of `--source`, as records name it.
      version: path of the version, for people.

    Raises:
      ConfigurationError: it does not, or its vectors are not made from what anybody wrote.
    """
    sources = _sources_by_record(description)
    if source not in sources:
        names = ", ".join(sorted(sources)) or "none"
        raise ConfigurationError(
            f"--source: the model in {version} reads no source '{source}' (it reads: {names})"
        )
    for name in sources[source]:
        made_from = description.sources[name].made_from
        if not description.sources[name].takes_vectors:
            raise ConfigurationError(
                f"--source: the vectors of '{name}' are {made_from}, and no answer changes them; "
                "train again for new ones"
            )


def read_answers(
    files: AnswerFiles,
    source: str | None,
    description: RefreshDescription,
    records: IncomingRecords,
) -> None:
    """Adds the records of answer files.

    Args:
      files: the files.
      source: the source of answers whose files name none; None where records name it.
      description: of the version.
      records: gets the entries and rejections.

    Raises:
      ConfigurationError: a file does not exist.
      CommandError: a file cannot be read as its format at all.
    """
    input_checksums({path: "--answers" for path in files.paths})
    formats = choose_formats(files.paths, files.format_name)
    sources = _sources_by_record(description)
    texts = {
        name: _texts_of(name, described, description)
        for name, described in description.sources.items()
    }
    expected = Expected(source, files.extraction)
    for outcome in examine(files.paths, formats, expected, files.thresholds):
        if not isinstance(outcome, Answer):
            location = Location(outcome["file"], outcome["line"])
            records.locations.append(location)
            records.reject(location, outcome["reason"], outcome["detail"])
            continue
        location = outcome.location
        records.locations.append(location)
        if outcome.source not in sources:
            names = ", ".join(sorted(sources)) or "none"
            detail = f"'{outcome.source}'; there are: {names}; --source names that of a file"
            records.reject(location, "unknown_source", detail)
            continue
        for name in sources[outcome.source]:
            _add_answer(records, location, name, description.sources[name], texts[name], outcome)


def _add_answer(
    records: IncomingRecords,
    location: Location,
    source: str,
    described: SourceDescription,
    texts: AnswerTexts,
    answer: Answer,
) -> None:
    if not described.takes_answers:
        detail = f"the vectors of '{source}' are made from {described.made_from}; see --vectors"
        records.reject(location, "vectors_only", detail)
        return
    try:
        if described.links is not None:
            found = lists_for_links(answer, described.entity, described.factor)
            of_group = answer.members is not None
            records.entries += [
                Entry(location, source, False, each.entity_id, names=each.names, of_group=of_group)
                for each in found.lists
            ]
            for reason, members in (
                ("member_left_out", found.left_out),
                ("unknown_member", found.unknown),
            ):
                for member in members:
                    records.reject_member(location, reason, repr(member))
        else:
            text = texts.to_encode(answer).text
            collective = answer.extraction == COLLECTIVE
            records.entries.append(Entry(location, source, collective, answer.entity_id, text))
    except RejectedAnswer as rejection:
        records.reject(location, rejection.reason, rejection.detail)


def _sources_by_record(description: RefreshDescription) -> Mapping[str, list[str]]:
    """What records call their source -> sources of the model that are made from them."""
    sources: dict[str, list[str]] = {}
    for name, described in description.sources.items():
        recorded = _texts_of(name, described, description).source
        sources.setdefault(recorded, []).append(name)
        if recorded != name:
            sources.setdefault(name, []).append(name)
    return sources


def _texts_of(
    source: str, described: SourceDescription, description: RefreshDescription
) -> AnswerTexts:
    answers = SourceAnswers.model_construct(
        entity=described.entity,
        factor=described.factor,
        history_entry_pattern=described.history_entry_pattern,
    )
    return answer_texts(source, answers, description.encoder)


_Row = tuple[Location, str, str, np.ndarray | Problem]


def read_vectors(
    paths: Sequence[str], source: str, description: RefreshDescription, records: IncomingRecords
) -> None:
    """Adds the records of vector files: `entity_id`, `vector` and perhaps `extraction`.

    With the extraction "collective" the id is that of a group. The first sound vector of an entity
    counts.

    Args:
      paths: .parquet, .npz or TFRecord files.
      source: the source of all vectors, a key of the description's sources.
      description: of the version.
      records: gets the entries and rejections.

    Raises:
      ConfigurationError: a file does not exist or its name tells no format.
      CommandError: a file cannot be read.
    """
    input_checksums({path: "--vectors" for path in paths})
    width = description.sources[source].dimension
    seen: dict[tuple[bool, str], Location] = {}
    for location, entity_id, extraction, values in _rows(paths):
        records.locations.append(location)
        collective = extraction == COLLECTIVE
        try:
            vector = usable_vector(entity_id, values, extraction, width)
            first = seen.setdefault((collective, entity_id), location)
            if first != location:
                detail = f"same entity as record {first.line} of {first.file}"
                raise RejectedAnswer("duplicate_entity", detail)
        except RejectedAnswer as rejection:
            records.reject(location, rejection.reason, rejection.detail)
            continue
        records.entries.append(Entry(location, source, collective, entity_id, vector=vector))


def source_of_vectors(description: RefreshDescription, source: str | None) -> str:
    """The one source that `--vectors` files are of.

    Raises:
      ConfigurationError: none is named, or several are meant.
    """
    names = ", ".join(description.sources)
    if source is None:
        raise ConfigurationError(
            f"--source: files of vectors do not say which source they are of; name it ({names})"
        )
    if source not in description.sources:
        raise ConfigurationError(
            f"--source: '{source}' is no single source of the model; vectors are of one of {names}"
        )
    if description.sources[source].links is not None:
        raise ConfigurationError(
            f"--source: the vectors of '{source}' are those of a graph of links, which a vector "
            "from elsewhere is no part of; bring answers that name items, by --answers"
        )
    return source


def _rows(paths: Sequence[str]) -> Iterator[_Row]:
    for file in vector_files(paths, "--vectors"):
        for part in parts_of(file):
            for block in read_part(part):
                rows = zip(block.entity_ids, block.extractions, block.vectors, strict=True)
                for line, row in enumerate(rows, block.first_record):
                    yield Location(file.name, line), *row


def link_entries(
    entries: Sequence[Entry], settings: Links, folder: Path, records: IncomingRecords
) -> tuple[list[Entry], np.ndarray, ExtendedLinks]:
    """Gives every entry of a source of links its knowledge vector.

    An answer about a group counts for members that no answer has linked yet.

    Args:
      entries: of the source, each about another item.
      settings: of the source.
      folder: what `encode` left of the source.
      records: gets the rejections.

    Returns:
      The entries that have a vector, the vectors, float16 [entries, dimension], and what became of
      the source's links.

    Raises:
      CommandError: a file is missing or damaged.
    """
    known = read_known_links(str(folder), settings)
    has_groups = any(entry.of_group for entry in entries)
    linked = known.items_with_links() if has_groups else frozenset()
    names, asked = NamesOfAnswers(), []
    for entry in entries:
        if entry.of_group and entry.entity_id in linked:
            records.reject_entry(entry, "has_links", "an answer about it comes before its group's")
        else:
            asked.append(entry)
            lists = {LINKS: entry.names or ()}
            names.add(entry.entity_id, entry.location, lists, settings.most_names)
    extended = known.extended(names)
    vectors = extended.rows.astype(np.float16)
    usable = []
    for row, entry in enumerate(asked):
        problem = problem_of(vectors[row])
        if problem is None:
            usable.append(row)
        elif extended.rows[row].any():
            records.reject_entry(entry, *problem)
        else:
            detail = f"none of its {len(entry.names or ())} names is of an item with links"
            records.reject_entry(entry, "no_links", detail)
    return [asked[row] for row in usable], vectors[usable], extended


def encode_entries(
    entries: Sequence[Entry],
    source: str,
    description: RefreshDescription,
    encoder_folder: Path,
    records: IncomingRecords,
) -> tuple[list[Entry], np.ndarray]:
    """Gives every entry of a source its knowledge vector.

    Args:
      entries: of the source.
      source: the source.
      description: of the version.
      encoder_folder: files of an encoder that was fitted on the source.
      records: gets the rejections.

    Returns:
      The entries that have a vector, and the vectors, float16 [entries, dimension].

    Raises:
      CommandError: the encoder is not there, or makes vectors of another width.
    """
    width = description.sources[source].dimension
    texts = list(dict.fromkeys(entry.text for entry in entries if entry.text is not None))
    vectors = np.zeros([0, width], np.float32)
    refused: dict[int, str] = {}
    if texts:
        vectors, refused = _encode(texts, source, description, encoder_folder)
    row_of_text = {text: row for row, text in enumerate(texts)}
    encoded = np.zeros([len(entries), width], np.float16)
    usable = []
    with np.errstate(over="ignore"):
        for row, entry in enumerate(entries):
            index = None if entry.text is None else row_of_text[entry.text]
            encoded[row] = entry.vector if index is None else vectors[index]
            problem = (
                ("encoder_refused", refused[index])
                if index in refused
                else problem_of(encoded[row])
            )
            if problem is None:
                usable.append(row)
            else:
                records.reject(entry.location, *problem)
    return [entries[row] for row in usable], encoded[usable]


def _encode(
    texts: Sequence[str], source: str, description: RefreshDescription, folder: Path
) -> tuple[np.ndarray, dict[int, str]]:
    settings, width = description.encoder, description.sources[source].dimension
    try:
        chosen = encoder_class(settings.kind)
    except ImportError as error:
        raise CommandError(
            f"the encoder '{settings.kind}' that made the vectors of '{source}' cannot be loaded "
            f"({error}); install it, or encode elsewhere and bring the vectors with --vectors"
        ) from error
    _compare_identity(chosen, source, description)
    try:
        encoder = chosen.load(settings, str(folder))
    except OSError as error:
        raise CommandError(
            f"{folder}: the encoder '{settings.kind}' of source '{source}' cannot be read "
            f"({error}); copy the version folder anew, or bring vectors with --vectors"
        ) from error
    parts: list[np.ndarray] = []
    refused: dict[int, str] = {}
    at_once = chosen.texts_per_element(settings)
    for start in range(0, len(texts), at_once):
        encoded = encoder.encode(texts[start : start + at_once])
        parts.append(encoded.vectors)
        refused |= {start + row: reason for row, reason in encoded.refused.items()}
    vectors = np.concatenate(parts)
    if vectors.shape[1] != width:
        raise CommandError(
            f"the encoder '{settings.kind}' makes vectors of width {vectors.shape[1]}, and those "
            f"of source '{source}' have {width}: it is another one than at training; install that "
            "one, or bring vectors with --vectors"
        )
    return vectors, refused


def _compare_identity(
    chosen: type[TextEncoder], source: str, description: RefreshDescription
) -> None:
    """Says where the encoder is not exactly the one of the version."""
    now = chosen.identity(description.encoder) or {}
    then = description.sources[source].encoder or {}
    for key, value in now.items():
        if key in then and then[key] != value:
            say(
                f"encoder of '{source}': {key} is {value!r}, and was {then[key]!r} when the "
                "model's vectors were made; vectors may differ in their last digits"
            )
