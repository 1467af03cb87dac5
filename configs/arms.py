"""The arms of an experiment that its axes make, and the knowledge sources that all arms read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

from configs.experiment import Arm
from configs.loading import ConfigurationError, override_scenario
from configs.scenario import Scenario


def arms_of_axes(scenario: Scenario) -> Iterator[tuple[str, Arm]]:
    """Names and arms of adapters x matches x extractions; none if the experiment names no axis.

    An arm is named after its parts, for example "hein_ridge_individual"; without adapter and match
    it is called "none", whatever the extraction.

    Raises:
      ConfigurationError: an extraction has a source that is not described, or none to compare.
    """
    grid = scenario.experiment
    if not (grid.adapters or grid.matches or grid.extractions):
        return
    extractions: Sequence[tuple[str, Sequence[str]]] = [*grid.extractions.items()] or [("", ())]
    for adapter, match, (extraction, sources) in product(
        grid.adapters or [scenario.model.adapter],
        grid.matches or [scenario.model.match],
        extractions,
    ):
        overrides: dict[str, object] = {"model.adapter": adapter, "model.match": match}
        parts: list[str] = [part for part in (adapter, match) if part != "none"]
        if parts and extraction:
            parts.append(extraction)
            overrides |= _sources_of(scenario, extraction, sources, adapter, match)
        # Arms that knowledge does not enter have one name, and are one.
        yield "_".join(parts) or "none", Arm(overrides=overrides)


def _sources_of(
    scenario: Scenario, extraction: str, sources: Sequence[str], adapter: str, match: str
) -> dict[str, object]:
    """Overrides that give an extraction's sources to the adapter and to the match."""
    answers = scenario.knowledge.answers
    for source in sources:
        if source not in answers:
            raise ConfigurationError(
                f"experiment.extractions: '{extraction}' names source '{source}', which is not "
                f"described under knowledge.answers (there: {', '.join(sorted(answers))})"
            )
    overrides: dict[str, object] = {}
    if adapter != "none":
        overrides["knowledge.sources"] = list(sources)
    if match != "none":
        items = [source for source in sources if answers[source].entity == "item"]
        if not items:
            raise ConfigurationError(
                f"experiment.extractions: '{extraction}' has no item source, which match "
                f"'{match}' compares; name one, or leave the match out"
            )
        overrides["model.knowledge_match.sources"] = items
    return overrides


def sources_of_arms(scenario: Scenario) -> list[str]:
    """Knowledge sources that any arm reads: by its adapter, its match or its prior.

    Raises:
      ConfigurationError: an arm cannot be.
    """
    sources: list[str] = []
    for name, arm in [*arms_of_axes(scenario), *scenario.experiment.arms.items()]:
        try:
            sources += override_scenario(scenario, arm.overrides).knowledge_sources()
        except ConfigurationError as error:
            raise ConfigurationError(f"experiment, arm '{name}': {error}") from error
    return list(dict.fromkeys(sources))
