"""First pipeline of the step `encode`: answer files to accepted answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam

from preprocessing import storage
from preprocessing.answers.checks import Duplicates
from preprocessing.answers.record import (
    Answer,
    Location,
    RejectedAnswer,
    answer_of,
    batched_lines,
    json_object,
    refuse_forgotten,
)
from preprocessing.answers.texts import AnswerTexts
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS, GatherDeadLetters, gather_statistics
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.records.contract import COLLECTIVE
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.hashing import stable_hash


@dataclass(frozen=True)
class AnswerFile:
    """One answer file.

    Attributes:
      order: place in the configuration; the first answer for an entity counts.
      name: how the configuration names it, for people.
      path: absolute path or URL.
      extraction: "individual" or "collective".
      has_both: the file is named under the other extraction, too, and so is read twice.
    """

    order: int
    name: str
    path: str
    extraction: str
    has_both: bool = False


def belongs_elsewhere(
    record: Mapping[str, object] | None, file: AnswerFile, other_sources: frozenset[str]
) -> bool:
    """Whether a record is read, or rejected, by someone else.

    Of a file that is read twice, once for each extraction, every line is in charge of one reading:
    what does not say that it is collective is the first one's, even if it says nothing at all.

    Args:
      record: the JSON object of a line; None if the line is none.
      file: where it is.
      other_sources: names that records of other sources give their source.
    """
    source = None if record is None else record.get("source")
    if isinstance(source, str) and source in other_sources:
        return True
    extraction = None if record is None else record.get("extraction")
    return file.has_both and (extraction == COLLECTIVE) != (file.extraction == COLLECTIVE)


Lines = list[tuple[int, bytes]]
"""Line numbers and lines."""


def _lines_of(file: AnswerFile) -> Iterable[tuple[AnswerFile, Lines]]:
    """Answer file to batches of lines."""
    for lines in batched_lines(file.path):
        yield file, lines


def _checked_answers(
    element: tuple[AnswerFile, Lines],
    texts: AnswerTexts,
    entity: str,
    forgotten: Forgotten,
    other_sources: frozenset[str],
    shards: int,
) -> Iterator[Any]:
    """Batch of lines to (shard, valid answers), dead letters beside them."""
    file, lines = element
    by_shard: dict[int, list[Answer]] = {}
    dead_letters: list[DeadLetter] = []
    read = elsewhere = 0
    for number, line in lines:
        read += 1
        record = None
        try:
            record = json_object(line)
            if belongs_elsewhere(record, file, other_sources):
                elsewhere += 1
                continue
            answer = answer_of(record, texts.source, file.extraction)
            refuse_forgotten(answer.entity_id, entity, forgotten, answer.extraction)
            answer = texts.to_encode(answer)
        except RejectedAnswer as error:
            if record is None and belongs_elsewhere(None, file, other_sources):
                elsewhere += 1
                continue
            dead_letters.append(dead_letter(file.name, number, error.reason, error.detail))
            continue
        shard = entity_shard(answer.entity_id, shards)
        location = Location(file.name, number, file.order)
        by_shard.setdefault(shard, []).append(replace(answer, location=location))
    yield beam.pvalue.TaggedOutput(STATISTICS, {"read": read, "other_sources": elsewhere})
    yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
    yield from by_shard.items()


def _written_accepted(element: tuple[int, Iterable[list[Answer]]], folder: str) -> Iterator[Any]:
    """All valid answers of a shard to a file, each entity once."""
    shard, batches = element
    accepted, dead_letters = first_answers(answer for batch in batches for answer in batch)
    yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
    write_accepted(accepted_file(folder, shard), accepted)
    lacking = sum(answer.lacks_history for answer in accepted)
    yield {"accepted": len(accepted), "answers_without_history": lacking}


def first_answers(answers: Iterable[Answer]) -> tuple[list[Answer], list[DeadLetter]]:
    """The first answer for each entity and extraction; later ones become dead letters."""
    accepted: list[Answer] = []
    dead_letters: list[DeadLetter] = []
    duplicates = Duplicates()
    for answer in sorted(answers, key=_by_entity):
        location = answer.location
        try:
            duplicates.add(answer)
        except RejectedAnswer as error:
            dead_letters.append(
                dead_letter(location.file, location.line, error.reason, error.detail)
            )
        else:
            accepted.append(answer)
    return accepted, dead_letters


def _by_entity(answer: Answer) -> tuple[str, str, int, int]:
    return answer.extraction, answer.entity_id, answer.location.file_order, answer.location.line


def build_accepting_pipeline(
    pipeline: beam.Pipeline,
    texts: AnswerTexts,
    entity: str,
    forgotten: Forgotten,
    files: list[AnswerFile],
    other_sources: frozenset[str],
    shards: int,
    folder: str,
    dead_letters_path: str,
    statistics_path: str,
) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      texts: takes the text to encode out of an answer.
      entity: what the answers are about, "item" or "user".
      forgotten: those whose answers are rejected.
      files: the source's answer files.
      other_sources: names that records of other sources give their source.
      shards: number of files of accepted answers.
      folder: where those files belong; a path or URL that all workers see.
      dead_letters_path: JSON lines file for rejected answers.
      statistics_path: JSON file for counts "read", "other_sources", "accepted" and
        "answers_without_history".
    """
    checked = (
        pipeline
        | "AnswerFiles" >> beam.Create(files)
        | "ReadAnswers" >> beam.FlatMap(_lines_of)
        | "SpreadLines" >> beam.Reshuffle()  # one file is one element: let all workers check
        | "CheckAnswers"
        >> beam.FlatMap(
            _checked_answers, texts, entity, forgotten, other_sources, shards
        ).with_outputs(STATISTICS, DEAD_LETTERS, main="answers")
    )
    nothing = (
        pipeline
        | "AllShards" >> beam.Create(range(shards), reshuffle=False)
        | "NoAnswers" >> beam.Map(lambda shard: (shard, []))
    )
    accepted = (
        (checked["answers"], nothing)
        | "Answers" >> beam.Flatten()
        | "ByShard" >> beam.GroupByKey()
        | "WriteAccepted"
        >> beam.FlatMap(_written_accepted, folder).with_outputs(DEAD_LETTERS, main="counts")
    )
    dead_letters = (checked[DEAD_LETTERS], accepted[DEAD_LETTERS])
    dead_letters | "DeadLetters" >> GatherDeadLetters(dead_letters_path)
    statistics = (checked[STATISTICS], accepted["counts"])
    statistics | "Statistics" >> gather_statistics(statistics_path)


def entity_shard(entity_id: str, shards: int) -> int:
    """Shard of an entity's record."""
    return stable_hash(entity_id, "knowledge") % shards


def accepted_file(folder: str, shard: int) -> str:
    """File with the accepted answers of a shard."""
    return storage.join(folder, f"accepted-{shard:05d}.jsonl")


def write_accepted(path: str, answers: Iterable[Answer]) -> None:
    """Writes a file of accepted answers."""
    with storage.create_bytes(path) as file:
        for answer in answers:
            fields = (answer.source, answer.entity_id, answer.extraction, answer.text)
            file.write(json.dumps([*fields, answer.location]).encode() + b"\n")


def read_accepted(path: str) -> Iterator[Answer]:
    """Reads a file of accepted answers."""
    with storage.open_bytes(path) as file:
        for line in file:
            source, entity_id, extraction, text, location = json.loads(line)
            yield Answer(source, entity_id, extraction, text, location=Location(*location))
