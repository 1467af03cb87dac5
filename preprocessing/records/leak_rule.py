"""What is known of each source under the leak rule, as the manifest of the examples has it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import Enum
from typing import Any

from configs.scenario import Scenario
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.layout import WorkDirectory


class LeakRule(Enum):
    """What shows that an LLM saw no sample that a model is judged on.

    Attributes:
      VERIFIED: the leak check of the examples.
      DECLARED: the configuration, which says that groups are of interactions before k_u.
      TRAINING: the configuration, which says that the LLM saw the training part (`seen: training`).
      UNVERIFIED: nothing.
    """

    VERIFIED = "verified"
    DECLARED = "declared"
    TRAINING = "declared_training"
    UNVERIFIED = "unverified"


def leak_rules(scenario: Scenario) -> dict[str, LeakRule]:
    """The result for every source that the scenario's model reads, and for no other.

    Without a manifest of the examples nothing shows anything.

    Raises:
      DamagedRecords: there is a manifest, but not one of examples.
    """
    directory = WorkDirectory(scenario.work_dir).examples
    try:
        counts = directory.read_manifest()["counts"] if directory.manifest.exists() else {}
        return rules_of(counts.get("leak_check") or {}, scenario.knowledge_sources())
    except (KeyError, TypeError, AttributeError) as error:
        raise DamagedRecords(
            f"{directory.manifest}: no manifest of examples ({error}); run 'python -m "
            "preprocessing examples' again"
        ) from error


def rules_of(check: Mapping[str, Any], sources: Iterable[str]) -> dict[str, LeakRule]:
    """The result for some sources.

    Args:
      check: `counts.leak_check` of a manifest of examples.
      sources: names of sources.
    """
    declared: Mapping[str, str] = check.get("declared_sources", {})
    unverified = check.get("unverified_sources")
    return {
        source: LeakRule.UNVERIFIED
        if unverified is None or source in unverified
        else _declared(declared.get(source))
        for source in sources
    }


def _declared(seen: str | None) -> LeakRule:
    if seen is None:
        return LeakRule.VERIFIED
    return LeakRule.TRAINING if seen == "training" else LeakRule.DECLARED


def leak_rule_result(rules: Mapping[str, LeakRule]) -> dict[str, str]:
    """The same as JSON."""
    return {source: rule.value for source, rule in rules.items()}


def leak_cautions(rules: Mapping[str, LeakRule]) -> list[str]:
    """Sentences that must stand beside the metrics of a model that reads these sources.

    Args:
      rules: what is known of each source that the model reads.
    """
    unverified = [source for source, rule in rules.items() if rule is LeakRule.UNVERIFIED]
    training = [source for source, rule in rules.items() if rule is LeakRule.TRAINING]
    cautions = []
    if unverified:
        cautions.append(
            f"unverified sources: {', '.join(unverified)}: nothing shows that they were made "
            "without the interactions that the metrics are of, so these may be too good"
        )
    if training:
        cautions.append(
            f"sources declared to be made from the training part: {', '.join(training)}: training "
            "samples were seen by the LLM; only validation and test samples are held to the leak "
            "rule"
        )
    return cautions
