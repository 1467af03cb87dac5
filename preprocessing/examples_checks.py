"""Settings of the step `examples` that cannot work, and parts that are too thin."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from configs.command_line import CommandError
from configs.data import Data, Split
from configs.loading import ConfigurationError
from preprocessing.dead_letters import read_dead_letters
from preprocessing.interactions.reading import KNOWN_PARTS, UNKNOWN_PART
from preprocessing.records.contract import CTR, PROFILE_PREFIX, RERANK


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
    reasons = ", ".join(
        f"{reason} {count:,}" for reason, count in counts["rejected_by_reason"].items()
    )
    listed = f" ({reasons})" if reasons else ""
    raise CommandError(
        f"no sample is left: of {counts['records_in']:,} interactions {counts['filtered_out']:,} "
        f"were filtered out (data.filter), {counts['dead_letters']:,} rejected{listed}, and "
        f"{counts['history_only']:,} are history only, because they come before k_u "
        "(split.knowledge_history_cap)"
    )


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
