"""Whether the model's knowledge is about the items and users of its samples at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from configs.command_line import CommandError
from configs.scenario import Scenario
from models.knowledge import KnowledgeRecords
from preprocessing.records.coverage import (
    IdCoverage,
    knowledge_refusal,
    tell_knowledge_coverage,
)
from trainer.examples import PreparedExamples


def knowledge_coverage(
    scenario: Scenario,
    knowledge: Mapping[str, KnowledgeRecords],
    examples: PreparedExamples,
    tell: bool = True,
) -> dict[str, dict[str, Any]]:
    """Counts the samples that have a vector of each source; warns where they are few.

    Args:
      scenario: names the files and what counts as few.
      knowledge: source -> its records.
      examples: the samples, or lists of candidates.
      tell: whether people are told.

    Returns:
      Source -> `IdCoverage.as_dictionary`.

    Raises:
      CommandError: no sample has a vector of a source.
    """
    counts: dict[str, dict[str, int]] = {}
    shares = {}
    for source, records in knowledge.items():
        entity = scenario.knowledge.answers[source].entity
        if entity not in counts:
            counts[entity] = _counts(examples.item_ids if entity == "item" else examples.user_ids)
        coverage = IdCoverage.measure(entity, counts[entity], records.entity_ids, "samples")
        if coverage.is_empty:
            raise CommandError(knowledge_refusal(scenario, source, coverage))
        shares[source] = coverage.as_dictionary()
        if tell:
            tell_knowledge_coverage(scenario, source, shares[source], "train")
    return shares


def _counts(ids: np.ndarray) -> dict[str, int]:
    """Samples by id; "" pads lists of candidates."""
    values, numbers = np.unique(ids, return_counts=True)
    return {
        value: number
        for value, number in zip(values.tolist(), numbers.tolist(), strict=True)
        if value
    }
