"""Vectors of entities and groups to knowledge TFRecords; their statistics, and the manifest."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import apache_beam as beam
import numpy as np

from configs.command_line import CommandError
from preprocessing import storage
from preprocessing.beam_sinks import (
    DEAD_LETTERS,
    STATISTICS,
    GatherDeadLetters,
    gather_statistics,
    total,
)
from preprocessing.dead_letters import DeadLetter, dead_letter
from preprocessing.grouping.groups_file import Membership, group_of_entity, parse_memberships
from preprocessing.knowledge.accepting import entity_shard
from preprocessing.knowledge.vectors import NUMBER, KnowledgeRecord, write_knowledge
from preprocessing.records import contract
from preprocessing.records.contract import COLLECTIVE, EXTRACTIONS, INDIVIDUAL
from preprocessing.records.layout import VECTOR_STATISTICS_FILE, shard_name
from preprocessing.tables.blocks import Block
from preprocessing.tables.reading_transforms import ReadTable
from preprocessing.tables.table_reader import TableReader

_DIGITS = 6


@dataclass(frozen=True)
class ShardStatistics:
    """What one shard adds to the statistics.

    Attributes:
      shard: number of the shard.
      count: vectors.
      mean: [dimension] float64.
      squares: [dimension] float64, sum of squared deviations from the mean.
      norms: extraction -> [vectors] float64 Euclidean norms.
    """

    shard: int
    count: int
    mean: np.ndarray
    squares: np.ndarray
    norms: Mapping[str, np.ndarray]


def shard_statistics(shard: int, records: Sequence[KnowledgeRecord]) -> ShardStatistics:
    """Statistics of the records of a shard, at least one.

    Raises:
      CommandError: the vectors differ in width.
    """
    widths = sorted({record.width for record in records})
    _require_one_width(widths)
    data = b"".join(record.vector for record in records)
    vectors = np.frombuffer(data, NUMBER).reshape(len(records), widths[0]).astype(np.float64)
    mean = vectors.mean(axis=0)
    norms = np.sqrt(np.square(vectors).sum(axis=1))
    extractions = np.array([record.extraction for record in records])
    return ShardStatistics(
        shard=shard,
        count=len(records),
        mean=mean,
        squares=np.square(vectors - mean).sum(axis=0),
        norms={name: norms[extractions == name] for name in EXTRACTIONS},
    )


def combine(parts: Iterable[ShardStatistics]) -> ShardStatistics:
    """Statistics of several shards together, at least one.

    Mean and squared deviations of two parts combine exactly (Chan, Golub and LeVeque 1979); parts
    are taken in the order of their shards, so that the last bits do not depend on the run.

    Raises:
      CommandError: the vectors differ in width.
    """
    ordered = sorted(parts, key=lambda part: part.shard)
    _require_one_width(sorted({len(part.mean) for part in ordered}))
    count, mean, squares = ordered[0].count, ordered[0].mean, ordered[0].squares
    for part in ordered[1:]:
        total = count + part.count
        difference = part.mean - mean
        mean = mean + difference * (part.count / total)
        squares = squares + part.squares + np.square(difference) * (count * part.count / total)
        count = total
    norms = {name: np.concatenate([part.norms[name] for part in ordered]) for name in EXTRACTIONS}
    return ShardStatistics(0, count, mean, squares, norms)


def norm_report(norms: np.ndarray) -> dict[str, float]:
    """Minimum, quartiles, maximum and mean of at least one norm, to six significant digits."""
    minimum, lower, median, upper, maximum = np.quantile(norms, [0, 0.25, 0.5, 0.75, 1]).tolist()
    report = {
        "minimum": minimum,
        "lower_quartile": lower,
        "median": median,
        "upper_quartile": upper,
        "maximum": maximum,
        "mean": float(norms.mean()),
    }
    return {name: float(f"{value:.{_DIGITS}g}") for name, value in report.items()}


def write_vector_statistics(path: str, parts: Iterable[ShardStatistics]) -> dict[str, Any]:
    """Writes the statistics file of all shards and returns the report that the manifest holds.

    Args:
      path: path or URL of the file, NumPy arrays.
      parts: statistics of the shards that have records, at least one.

    Raises:
      CommandError: the vectors differ in width.
    """
    whole = combine(parts)
    content = io.BytesIO()
    np.savez(
        content,
        count=np.int64(whole.count),
        mean=whole.mean,
        standard_deviation=np.sqrt(whole.squares / whole.count),
    )
    with storage.create_bytes(path) as file:
        file.write(content.getvalue())
    by_extraction = {name: norm_report(norms) for name, norms in whole.norms.items() if len(norms)}
    return {
        "dimension": len(whole.mean),
        "norms": norm_report(np.concatenate([whole.norms[name] for name in EXTRACTIONS])),
        "norms_by_extraction": by_extraction,
    }


def _require_one_width(widths: Sequence[int]) -> None:
    if len(widths) > 1:
        raise CommandError(
            f"knowledge.encoder: vectors of different widths ({', '.join(map(str, widths))}) were "
            "made with the same settings, now or in an earlier run; the encoder must have changed. "
            "Name another folder in knowledge.encoder.cache, so that all texts are encoded anew"
        )


_WAITING = "waiting"
_VECTORS = "vectors"
_MEMBERSHIPS = "memberships"


@dataclass(frozen=True)
class WritingPlan:
    """Where knowledge records belong.

    Attributes:
      entity: "item" or "user".
      groups: reads the groups file, if there is one.
      shards: number of TFRecord files.
      folder: path or URL of the step's folder, as all workers see it.
      dead_letters: JSON lines file for rejected records.
      statistics: JSON file for the counts of all workers.
    """

    entity: str
    groups: TableReader | None
    shards: int
    folder: str
    dead_letters: str
    statistics: str


def _memberships_by_shard(block_of_file: Block, plan: WritingPlan) -> Iterator[Any]:
    """Block of the groups file to (shard, memberships)."""
    assert plan.groups is not None
    for block in plan.groups.parse(block_of_file):
        memberships, dead_letters = parse_memberships(block, plan.entity)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield beam.pvalue.TaggedOutput(STATISTICS, {"group_rows": block.records})
        by_shard: dict[int, list[Membership]] = {}
        for membership in memberships:
            shard = entity_shard(membership.entity_id, plan.shards)
            by_shard.setdefault(shard, []).append(membership)
        yield from by_shard.items()


def _joined_memberships(
    element: tuple[int, dict[str, Iterable[Any]]], groups_path: str
) -> Iterator[Any]:
    """Entities of a shard to (shard, records), tagged (group, (shard, entities without vector))."""
    shard, grouped = element
    memberships = (entry for batch in grouped[_MEMBERSHIPS] for entry in batch)
    groups, group_letters = group_of_entity(memberships, groups_path)
    vectors, vector_letters = first_vectors(
        record for batch in grouped[_VECTORS] for record in batch
    )
    yield beam.pvalue.TaggedOutput(DEAD_LETTERS, group_letters + vector_letters)
    records = [
        replace(record, group_id=groups.get(entity_id, record.group_id))
        for entity_id, record in vectors.items()
    ]
    individual = sum(record.extraction == INDIVIDUAL for record in records)
    counts = {
        "individual_entities": individual,
        "collective_entities": len(records) - individual,
    }
    yield beam.pvalue.TaggedOutput(STATISTICS, counts)
    yield shard, records
    waiting: dict[str, list[str]] = {}
    for entity_id, group_id in groups.items():
        if entity_id not in vectors:
            waiting.setdefault(group_id, []).append(entity_id)
    for group_id, entity_ids in waiting.items():
        yield beam.pvalue.TaggedOutput(_WAITING, (group_id, (shard, entity_ids)))


def first_vectors(
    records: Iterable[KnowledgeRecord],
) -> tuple[dict[str, KnowledgeRecord], list[DeadLetter]]:
    """The first record of each entity, in the order of ids; later ones become dead letters."""
    first: dict[str, KnowledgeRecord] = {}
    dead_letters: list[DeadLetter] = []
    for record in sorted(records, key=_by_place):
        kept = first.setdefault(record.entity_id, record)
        if kept is not record:
            file, line, _ = record.location
            detail = f"same entity as record {kept.location.line} of {kept.location.file}"
            dead_letters.append(dead_letter(file, line, "duplicate_entity", detail))
    return first, dead_letters


def _by_place(record: KnowledgeRecord) -> tuple[str, int, int]:
    return record.entity_id, record.location.file_order, record.location.line


def _shared_group_vector(element: tuple[str, dict[str, Iterable[Any]]]) -> Iterator[Any]:
    """Group with its vector and waiting entities to (shard, records)."""
    group_id, grouped = element
    vectors = list(grouped[_VECTORS])
    shared = 0
    missing = 0
    for shard, entity_ids in grouped[_WAITING]:
        if not vectors:
            missing += len(entity_ids)
            continue
        shared += len(entity_ids)
        records = [
            KnowledgeRecord(entity_id, COLLECTIVE, group_id, vectors[0]) for entity_id in entity_ids
        ]
        yield shard, records
    counts = {
        "collective_entities": shared,
        "entities_without_answer": missing,
        "unused_group_answers": int(bool(vectors) and not shared),
    }
    yield beam.pvalue.TaggedOutput(STATISTICS, counts)


def _written_knowledge(
    element: tuple[int, Iterable[list[KnowledgeRecord]]], plan: WritingPlan
) -> Iterator[Any]:
    """All records of a shard to a TFRecord file, tagged their `ShardStatistics`."""
    shard, batches = element
    path = storage.join(plan.folder, shard_name(shard, plan.shards))
    records = write_knowledge(path, (record for batch in batches for record in batch))
    yield {"shard": shard, "records": len(records)}
    if records:
        yield beam.pvalue.TaggedOutput(_VECTORS, (0, shard_statistics(shard, records)))


def write_entity_vectors(
    plan: WritingPlan,
    entities: beam.PCollection,
    groups: beam.PCollection,
    dead_letters: Iterable[beam.PCollection],
    statistics: Iterable[beam.PCollection],
) -> None:
    """Applies all transforms from vectors to files.

    Args:
      plan: where they belong.
      entities: (shard, [KnowledgeRecord]).
      groups: (group, vector as bytes), each group once.
      dead_letters: lists of dead letters of earlier transforms.
      statistics: counts of earlier transforms.
    """
    pipeline = entities.pipeline
    memberships = (
        pipeline
        | "ReadGroups" >> ReadTable(plan.groups)
        | "ReadMemberships"
        >> beam.FlatMap(_memberships_by_shard, plan).with_outputs(
            STATISTICS, DEAD_LETTERS, main=_MEMBERSHIPS
        )
    )
    # Every shard gets a file, so each number appears once without entities.
    nothing = (
        pipeline
        | "AllShards" >> beam.Create(range(plan.shards), reshuffle=False)
        | "NoVectors" >> beam.Map(lambda shard: (shard, []))
    )
    joined = (
        {
            _VECTORS: (entities, nothing) | "Vectors" >> beam.Flatten(),
            _MEMBERSHIPS: memberships[_MEMBERSHIPS],
        }
        | "ByShard" >> beam.CoGroupByKey()
        | "JoinMemberships"
        >> beam.FlatMap(
            _joined_memberships, plan.groups.names[0] if plan.groups else ""
        ).with_outputs(STATISTICS, DEAD_LETTERS, _WAITING, main="records")
    )
    shared = (
        {_VECTORS: groups, _WAITING: joined[_WAITING]}
        | "ByGroup" >> beam.CoGroupByKey()
        | "ShareGroupVector"
        >> beam.FlatMap(_shared_group_vector).with_outputs(STATISTICS, main="records")
    )
    written = (
        (joined["records"], shared["records"])
        | "Records" >> beam.Flatten()
        | "ToShards" >> beam.GroupByKey()
        | "WriteKnowledge"
        >> beam.FlatMap(_written_knowledge, plan).with_outputs(_VECTORS, main="counts")
    )
    path = storage.join(plan.folder, VECTOR_STATISTICS_FILE)
    report = (
        written[_VECTORS]
        | "AllStatistics" >> beam.GroupByKey()
        | "WriteVectorStatistics"
        >> beam.MapTuple(lambda _, parts: {"vectors": write_vector_statistics(path, parts)})
    )
    letters = (*dead_letters, memberships[DEAD_LETTERS], joined[DEAD_LETTERS])
    letters | "DeadLetters" >> GatherDeadLetters(plan.dead_letters)
    counted = (memberships, joined, shared)
    counts = (*statistics, *(output[STATISTICS] for output in counted), written["counts"], report)
    counts | "Statistics" >> gather_statistics(plan.statistics)


_DECIMALS_OF_SHARES = 6


def describe_vectors(
    statistics: Sequence[dict[str, Any]],
    rejected: Mapping[str, Mapping[str, int]],
    groups: str | None,
    encoder: Mapping[str, Any] | None,
) -> dict[str, Any]:
    """The source's part of the manifest.

    What depends on the run and not on the result, how many texts were in the cache, is not here:
    equal inputs give equal manifests.

    Args:
      statistics: what the workers counted.
      rejected: input file -> reason -> number of dead letters.
      groups: the groups file, as dead letters name it.
      encoder: what is known of the encoder; None when the vectors were made elsewhere.

    Raises:
      AssertionError: the counts do not add up.
    """
    group_reasons = dict(rejected.get(groups, {})) if groups else {}
    reasons: Counter[str] = Counter()
    for file, counted in rejected.items():
        if file != groups:
            reasons.update(counted)
    shards = sorted(
        (entry for entry in statistics if "shard" in entry), key=lambda entry: entry["shard"]
    )
    (vectors,) = (entry["vectors"] for entry in statistics if "vectors" in entry)
    records = total(shards, "records")
    individual = total(statistics, "individual_entities")
    collective = total(statistics, "collective_entities")
    missing = total(statistics, "entities_without_answer")
    group_rows, group_letters = total(statistics, "group_rows"), sum(group_reasons.values())
    elsewhere = total(statistics, "other_sources")
    counts: dict[str, Any] = {
        "records_in": total(statistics, "read") - elsewhere,
        "records_out": records if encoder is None else total(statistics, "usable"),
        "dead_letters": reasons.total(),
        "other_sources": elsewhere,
        "rejected_by_reason": dict(sorted(reasons.items())),
        "knowledge_records": records,
        "individual_entities": individual,
        "collective_entities": collective,
        "entities_without_answer": missing,
        "unused_group_answers": total(statistics, "unused_group_answers"),
        "groups": {
            "records_in": group_rows,
            "records_out": group_rows - group_letters,
            "dead_letters": group_letters,
            "rejected_by_reason": group_reasons,
        },
    }
    if encoder is not None:
        counts["texts"] = total(statistics, "texts")
        counts["answers_without_history"] = total(statistics, "answers_without_history")
    if (
        counts["records_in"] != counts["records_out"] + counts["dead_letters"]
        or records != individual + collective
    ):
        raise AssertionError(f"records were lost or counted twice: {counts}")
    return with_counts(counts, encoder, vectors, shards)


def with_counts(
    counts: Mapping[str, Any],
    encoder: Mapping[str, Any] | None,
    vectors: Mapping[str, Any],
    shards: Sequence[Mapping[str, int]],
) -> dict[str, Any]:
    """The source's part of the manifest, whatever its vectors were made from.

    Args:
      counts: counts that add up.
      encoder: what is known of the encoder, if there was one.
      vectors: width and norms.
      shards: number and records of each file.
    """
    numbers = {
        "individual": counts["individual_entities"],
        "collective": counts["collective_entities"],
        "none": counts["entities_without_answer"],
    }
    entities = sum(numbers.values())
    return {
        "counts": counts,
        "shares": {
            name: round(count / entities, _DECIMALS_OF_SHARES) for name, count in numbers.items()
        },
        "encoder": None if encoder is None else {**encoder, "dimension": vectors["dimension"]},
        "vectors": vectors,
        "shards": shards,
        "schema": {
            feature.name: {"type": feature.type.value, "list": feature.is_list}
            for feature in contract.KNOWLEDGE_FEATURES
        },
    }
