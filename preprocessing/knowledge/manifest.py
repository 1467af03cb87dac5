"""What the manifest of a source says: counts that add up, encoder, vectors, schema."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from preprocessing.beam_sinks import total
from preprocessing.records import contract

_DECIMALS = 6


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
    reasons: dict[str, int] = {}
    for file, counted in rejected.items():
        if file != groups:
            for reason, count in counted.items():
                reasons[reason] = reasons.get(reason, 0) + count
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
        "dead_letters": sum(reasons.values()),
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
        "shares": {name: round(count / entities, _DECIMALS) for name, count in numbers.items()},
        "encoder": None if encoder is None else {**encoder, "dimension": vectors["dimension"]},
        "vectors": vectors,
        "shards": shards,
        "schema": {
            feature.name: {"type": feature.type.value, "list": feature.is_list}
            for feature in contract.KNOWLEDGE_FEATURES
        },
    }
