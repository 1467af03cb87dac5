"""What the step `examples` says of its result: the manifest, and what is wrong with it.

Settings that cannot work are refused before it; parts that are too thin are told after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from configs.command_line import CommandError
from configs.data import Data, Split
from configs.loading import ConfigurationError
from configs.scenario import Scenario
from preprocessing.beam_sinks import total
from preprocessing.dead_letters import count_by_reason, read_dead_letters
from preprocessing.interactions import leak_check
from preprocessing.interactions.filtering import FilteredLog
from preprocessing.interactions.reading import (
    KNOWN_PARTS,
    REJECTED_CATALOGUE,
    REJECTED_INTERACTIONS,
    REJECTED_PROFILES,
    UNKNOWN_PART,
)
from preprocessing.interactions.shard import ExamplesPlan
from preprocessing.records.contract import (
    CTR,
    PARTS,
    PROFILE_PREFIX,
    RERANK,
    RETRIEVAL,
    features_of,
)
from preprocessing.records.coverage import IdCoverage, table_refusal
from preprocessing.records.layout import SETTINGS, ExamplesDirectory, examples_settings, schema_file


def require_consistent_settings(data: Data, split: Split) -> None:
    """Checks that the examples asked for can be made.

    Raises:
      ConfigurationError: they cannot; the message names the keys.
    """
    columns = data.interactions.columns
    if split.by == "global_time" and columns.timestamp is None:
        raise ConfigurationError(
            "split.by: 'global_time' needs data.interactions.columns.timestamp; without a time use "
            "'time' (each user's own order) or 'user'"
        )
    if split.by == "global_time" and columns.order is not None:
        raise ConfigurationError(
            "split.by: 'global_time' cuts the parts by time, but data.interactions.columns.order "
            f"'{columns.order}' orders histories, so that test interactions could come before "
            "training samples; set data.interactions.columns.order to null (histories then follow "
            "the time too) or split.by to 'time' or 'user'"
        )
    if columns.rating is None and columns.label is None:
        _require_negatives(data)
    attributes = data.profiles.attributes if data.profiles else {}
    for name in attributes:
        taken = f"{PROFILE_PREFIX}{name}"
        if taken in data.catalogue.attributes:
            raise ConfigurationError(
                f"data.catalogue.attributes: '{taken}' is the name of a user attribute's "
                "vocabulary (data.profiles); give the item attribute another name and set its "
                "'column'"
            )


def _require_negatives(data: Data) -> None:
    """Implicit feedback has positive interactions only."""
    reason = "data.interactions.columns maps neither 'rating' nor 'label', so all labels would be 1"
    if CTR in data.examples and data.negatives.per_positive == 0:
        raise ConfigurationError(
            f"{reason}: set data.negatives.per_positive to sample negatives, e.g. 4"
        )
    if RERANK in data.examples and data.rerank.window == data.rerank.length:
        raise ConfigurationError(
            f"{reason}: set data.rerank.length above data.rerank.window, so that lists get sampled "
            "items"
        )


LOOK_AT_SPLIT = "look at split and data.filter"
LOOK_AT_LABELS = "AUC needs both; look at data.positive_rating, data.negatives and split"


def require_samples(counts: Mapping[str, Any]) -> None:
    """Checks that there is any sample at all.

    Args:
      counts: counts of the manifest.

    Raises:
      CommandError: there is none; the message says where the interactions went.
    """
    if counts["samples"]:
        return
    reasons = _listed(counts["rejected_by_reason"])
    listed = f" ({reasons})" if reasons else ""
    raise CommandError(
        f"no sample is left: of {counts['records_in']:,} interactions {counts['filtered_out']:,} "
        f"were filtered out (data.filter), {counts['dead_letters']:,} rejected{listed}, and "
        f"{counts['history_only']:,} are history only, because they come before k_u "
        "(split.knowledge_history_cap)"
    )


def _listed(rejected: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in rejected.items())


def unknown_parts(counts: Mapping[str, Any], dead_letters: Path) -> str | None:
    """What is wrong with the names of parts in the log (`split.by: column`); None if nothing is.

    Args:
      counts: counts of the manifest.
      dead_letters: those of the step.

    Raises:
      CommandError: a part is left without samples, so that the names are not those of some rows.
    """
    rejected = counts["rejected_by_reason"].get(UNKNOWN_PART, 0)
    if not rejected:
        return None
    first = next(
        letter for letter in read_dead_letters(dead_letters) if letter["reason"] == UNKNOWN_PART
    )
    problem = (
        f"{rejected:,} interactions name a part that there is not, the first one at "
        f"{first['file']}, line {first['line']} ({first['detail']}); the known ones are "
        f"{KNOWN_PARTS}"
    )
    empty = [part for part, samples in counts["parts"].items() if not samples]
    if empty:
        raise CommandError(
            f"{problem}. No samples are left for {', '.join(empty)}; write the parts by these "
            "names, or name another column in data.interactions.columns.part"
        )
    return problem


def unread_rows(counts: Mapping[str, Any], dead_letters: Path) -> list[str]:
    """Warnings about rejected rows of the tables, and unreadable numbers of their attributes.

    Args:
      counts: counts of the manifest.
      dead_letters: those of the step.
    """
    warnings = []
    for table, read in [("interactions", counts), *_attribute_tables(counts)]:
        if read.get("dead_letters"):
            reasons = _listed(read["rejected_by_reason"])
            warnings.append(
                f"{read['dead_letters']:,} of {read['records_in']:,} rows of data.{table} were "
                f"rejected ({reasons}); {dead_letters} has them"
            )
        for name, count in read.get("unreadable_numbers", {}).items():
            if count:
                warnings.append(
                    f"data.{table}.attributes.{name}: {count:,} values of {read['records_in']:,} "
                    "rows are no numbers, and count as missing"
                )
    return warnings


def thin_parts(counts: Mapping[str, Any]) -> list[str]:
    """Warnings about parts without samples, or with samples of one class only.

    Samples that are all positive are as they should be where negatives are not samples of their
    own: lists are filled up with sampled items, and the loss of retrieval supplies them.

    Args:
      counts: counts of the manifest.
    """
    warnings = []
    for part, samples in counts["parts"].items():
        positives = counts["positives"][part]
        if not samples:
            warnings.append(f"part '{part}' has no samples; {LOOK_AT_SPLIT}")
        elif not positives or (positives == samples and CTR in counts["examples"]):
            warnings.append(
                f"all {samples:,} samples of part '{part}' have label {int(positives > 0)}; "
                f"{LOOK_AT_LABELS}"
            )
    return warnings


_NOUNS = {RERANK: "lists for reranking", RETRIEVAL: "liked items for retrieval"}
_LIBRARIES = ("apache-beam", "numpy", "pyarrow")

_ANEW = (
    "make prompts (python -m preprocessing prompts) and answers anew, from this log and with these "
    "settings"
)
_ADVICE = {
    leak_check.LARGER_CAP: "they show users' first interactions, up to {reach}, and "
    "split.knowledge_history_cap is smaller; set it to {reach}, what they were made with, or "
    + _ANEW,
    leak_check.SHORTER_LOG: "they show users' first interactions, but more than the first half of "
    "what the log has of these users, so the log has fewer interactions than when they were made; "
    "look at data.filter and at what data.interactions.path names, or " + _ANEW,
    leak_check.LATER_TRAINING: "they show interactions at or after k_u, all of the training part; "
    "if the answers were made from that part, declare it (knowledge.answers.{source}.seen: "
    "training), else " + _ANEW,
    leak_check.LATER: "they show validation or test interactions; no setting makes these answers "
    "usable: " + _ANEW,
    leak_check.OTHER_LOG: "they show interactions at or after k_u, and others that these users do "
    "not have (or with another rating), so the interactions or the catalogue changed since they "
    "were made; use the tables that they were made from, or " + _ANEW,
    leak_check.OTHER_SPLIT: "the source saw the training part (seen: training), and they show "
    "validation or test interactions, so the answers were made with another split; set split.by, "
    "split.fractions and split.seed to what they were made with, or " + _ANEW,
}
"""What violating prompts have in common -> what that means and what to do."""

Statistics = list[dict[str, Any]]


def describe_examples(
    scenario: Scenario,
    plan: ExamplesPlan,
    statistics: Statistics,
    filtered: FilteredLog | None,
    directory: ExamplesDirectory,
) -> dict[str, Any]:
    """What the manifest says about the result.

    Args:
      scenario: the scenario.
      plan: what was done.
      statistics: counts of all workers.
      filtered: what `data.filter` left, if it was asked to leave something out.
      directory: the result.

    Raises:
      CommandError: the leak check found a violation, no item of the log is in the catalogue, no
        user of it in the profiles, no sample is left, or none of a part while the log names parts
        that there are not.
    """
    shards = sorted(
        (entry for entry in statistics if "shard" in entry), key=lambda entry: entry["shard"]
    )
    refuse_leaks([shard["leaks"] for shard in shards])
    counts = _counts(scenario, plan, statistics, shards)
    require_reconciled(counts)
    require_written(counts, count_by_reason(directory.dead_letters))
    unknown_parts(counts, directory.dead_letters)
    require_samples(counts)
    _refuse_foreign_tables(scenario, statistics)
    described: dict[str, Any] = {
        SETTINGS: examples_settings(scenario),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "counts": counts,
    }
    if filtered is not None:
        described["filter"] = {
            "unfiltered": filtered.unfiltered,
            "rounds": filtered.rounds,
            "left": filtered.rounds[-1],
        }
    for entry in statistics:
        if "time_cuts" in entry:
            described["time_cuts"] = entry["time_cuts"]
    described["shards"] = [
        {key: shard[key] for key in ("shard", "samples", "examples")} for shard in shards
    ]
    for kind in scenario.data.examples:
        described[schema_file(kind).removesuffix(".pbtxt")] = {
            feature.name: {"type": feature.type.value, "list": feature.is_list}
            for feature in features_of(kind, scenario.data)
        }
    return described


def progress_line(counts: Mapping[str, Any], seconds: float, skipped: bool) -> str:
    """What people read when the step is done."""
    if skipped:
        return f"examples: unchanged, skipped ({counts['samples']:,} samples)"
    parts = ", ".join(f"{part} {count:,}" for part, count in counts["parts"].items())
    unverified = ", ".join(counts["leak_check"]["unverified_sources"]) or "none"
    filtered = f"{counts['filtered_out']:,} filtered out, " if counts["filtered_out"] else ""
    negatives = counts["sampled_negatives"]
    sampled = f", {negatives:,} of them sampled negatives" if negatives else ""
    missing = counts["missing_negatives"]
    lacking = f", {missing:,} negatives missing (no item left)" if missing else ""
    others = "".join(
        f", {sum(numbers.values()):,} {_NOUNS[kind]}"
        for kind, numbers in counts["examples"].items()
        if kind in _NOUNS
    )
    later = counts.get("later_part_in_history", {}).get(PARTS[0], 0)
    mixed = f", {later:,} training samples with later parts in their history" if later else ""
    return (
        f"examples: {counts['records_in']:,} interactions, {filtered}{counts['dead_letters']:,} "
        f"rejected -> {counts['samples']:,} samples ({parts}){sampled}{lacking}{others}, "
        f"{counts['history_only']:,} history only{mixed}, {counts['items']:,} items, "
        f"{counts['leak_violations']} leaks (unverified sources: {unverified}) in {seconds:.1f} s"
    )


def require_reconciled(counts: Mapping[str, Any]) -> None:
    """Checks that every record that was read is accounted for, once.

    Raises:
      AssertionError: one is not.
    """
    for table in _tables(counts):
        accounted = table["records_out"] + table["dead_letters"] + table.get("filtered_out", 0)
        if table["records_in"] != accounted:
            raise AssertionError(f"records were lost or counted twice: {counts}")


def require_written(
    counts: Mapping[str, Any], dead_letters: Mapping[str, Mapping[str, int]]
) -> None:
    """Checks that every rejected row has its dead letter.

    Args:
      counts: counts of all tables.
      dead_letters: input file -> reason -> dead letters that were written.

    Raises:
      AssertionError: one has not, or there is another.
    """
    counted = _add_up([table["rejected_by_reason"] for table in _tables(counts)])
    written = _add_up(dead_letters.values())
    if counted != written:
        raise AssertionError(f"rejected rows {counted}, but dead letters {written}")


def _tables(counts: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Counts of the interactions, the catalogue and, if there are any, the profiles."""
    return [counts, *(table for _, table in _attribute_tables(counts))]


def _attribute_tables(counts: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Names and counts of the catalogue and, if there are any, the profiles."""
    return [(name, counts[name]) for name in ("catalogue", "profiles") if name in counts]


def _counts(
    scenario: Scenario,
    plan: ExamplesPlan,
    statistics: Statistics,
    shards: Statistics,
) -> dict[str, Any]:
    (summary,) = (entry for entry in statistics if "items" in entry)
    leaks = [shard["leaks"] for shard in shards]
    interaction_reasons = _reasons(statistics, REJECTED_INTERACTIONS)
    catalogue_reasons = _reasons(statistics, REJECTED_CATALOGUE)
    real = _by_part(shard["samples"] for shard in shards)
    examples: dict[str, dict[str, int]] = {
        kind: _by_part(shard["examples"][kind] for shard in shards)
        for kind in scenario.data.examples
    }
    parts = examples.get(CTR, real)
    counts: dict[str, Any] = {
        "records_in": total(statistics, "interactions"),
        "records_out": sum(real.values()) + total(shards, "history_only"),
        "filtered_out": total(statistics, "filtered_out"),
        "samples": sum(parts.values()),
        "sampled_negatives": sum(parts.values()) - sum(real.values()),
        "missing_negatives": total(shards, "missing_negatives"),
        "history_only": total(shards, "history_only"),
        "dead_letters": sum(interaction_reasons.values()),
        "rejected_by_reason": interaction_reasons,
        "parts": parts,
        "positives": _by_part(shard["positives"] for shard in shards),
        "examples": examples,
        "missing_candidates": total(shards, "missing_candidates"),
        "users": total(shards, "users"),
        "training_interactions": total(shards, "training_interactions"),
        "items": summary["items"],
        "items_outside_catalogue": summary["items_outside_catalogue"],
        "coverage": {
            table: coverage.as_dictionary() for table, coverage in _coverage(statistics).items()
        },
        "vocabularies": summary["vocabularies"],
        "catalogue": {
            "records_in": total(statistics, "catalogue_records"),
            "records_out": summary["catalogue_items"],
            "dead_letters": sum(catalogue_reasons.values()),
            "rejected_by_reason": catalogue_reasons,
            "unreadable_numbers": summary["unreadable_numbers"],
        },
        "leak_violations": total(leaks, "violations"),
        "leak_check": _leak_check(scenario, leaks),
    }
    if scenario.split.by == "column":
        given = (shard["given_part_history_only"] for shard in shards)
        counts["given_part_history_only"] = _by_part(given)
        later = (shard["later_part_in_history"] for shard in shards)
        counts["later_part_in_history"] = _by_part(later)
    if plan.profiles is not None:
        counts["profiles"] = _profile_counts(statistics)
    return counts


def _leak_check(scenario: Scenario, leaks: list[dict[str, Any]]) -> dict[str, Any]:
    unresolved = _add_up([leak["unresolved_answers"] for leak in leaks])
    declared = leak_check.declared_sources(scenario.knowledge)
    on_trust = {source for source, seen in declared.items() if seen == "training"}
    return {
        "users_verified_by_prompt": total(leaks, "users_verified_by_prompt"),
        "users_by_rule_only": total(leaks, "users_by_rule_only"),
        "unresolved_answers": unresolved,
        "declared_sources": declared,
        "unverified_sources": sorted(
            {*leak_check.unverifiable_sources(scenario.knowledge), *unresolved} - on_trust
        ),
    }


def _profile_counts(statistics: Statistics) -> dict[str, Any]:
    reasons = _reasons(statistics, REJECTED_PROFILES)
    unreadable = [
        entry["profile_unreadable_numbers"]
        for entry in statistics
        if "profile_unreadable_numbers" in entry
    ]
    return {
        "records_in": total(statistics, "profile_records"),
        "records_out": total(statistics, "profile_users"),
        "dead_letters": sum(reasons.values()),
        "rejected_by_reason": reasons,
        "unreadable_numbers": _add_up(unreadable),
    }


def _reasons(statistics: Statistics, table: str) -> dict[str, int]:
    """Rejected rows of a table by reason."""
    return _add_up([entry[table] for entry in statistics if table in entry])


def _by_part(numbers: Iterable[Mapping[str, int]]) -> dict[str, int]:
    listed = list(numbers)
    return {part: total(listed, part) for part in PARTS}


def _add_up(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    listed = list(counts)
    names = {name for count in listed for name in count}
    return {name: total(listed, name) for name in sorted(names)}


def refuse_leaks(leaks: Sequence[Mapping[str, Any]]) -> None:
    """Checks that no prompt showed a sample.

    Args:
      leaks: results of the leak check (`LeakCheck`), one for each shard.

    Raises:
      CommandError: one did; the message says what the prompts have in common and what to do.
    """
    violations = total(leaks, "violations")
    if not violations:
        return
    examples = [example for leak in leaks for example in leak["examples"]]
    causes = {
        source: _add_up([leak["causes"].get(source, {}) for leak in leaks])
        for source in sorted({source for leak in leaks for source in leak["causes"]})
    }
    reach = max(leak["largest_reach"] for leak in leaks)
    shown = "\n  ".join(examples[: leak_check.MAXIMUM_EXAMPLES])
    advice = "\n".join(
        f"Source '{source}', {count:,} prompts: {_ADVICE[cause].format(source=source, reach=reach)}"
        for source, counted in causes.items()
        for cause, count in counted.items()
    )
    raise CommandError(
        f"leak rule: prompts showed {violations:,} samples to the LLM (ids are hashed):\n"
        f"  {shown}\n{advice or 'Samples lie before k_u: this is a fault of the split itself'}"
    )


def _coverage(statistics: Statistics) -> dict[str, IdCoverage]:
    """How much of the log the catalogue and, if there are any, the profiles cover."""
    coverage = {}
    for table in ("catalogue", "profiles"):
        key = f"{table}_coverage"
        if parts := [IdCoverage(**entry[key]) for entry in statistics if key in entry]:
            coverage[table] = IdCoverage.together(parts)
    return coverage


def _refuse_foreign_tables(scenario: Scenario, statistics: Statistics) -> None:
    """Raises CommandError when catalogue or profiles have rows, and none of them is in the log."""
    for table, coverage in _coverage(statistics).items():
        if coverage.is_empty and coverage.unused:
            raise CommandError(table_refusal(scenario, table, coverage))
