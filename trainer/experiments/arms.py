"""The arms of an experiment: those of its axes and those written out, each another model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

from configs.judging import Arm
from configs.loading import (
    ConfigurationError,
    override_scenario,
    require_effect,
    with_effective_options,
)
from configs.scenario import Scenario
from trainer.run_settings import training_settings

SET_BY_EXPERIMENT = {
    "model.backbone": "the experiment sets it for every backbone",
    "training.seed": "the experiment sets it for every seed",
    "run_dir": "the experiment has its own folders",
    "work_dir": "all arms use the same data",
    "experiment": "an arm is part of the experiment",
}
"""Keys that an arm leaves alone, and why."""


def experiment_arms(scenario: Scenario) -> dict[str, Arm]:
    """All arms by name: those of the axes first.

    The axes are adapters x matches x extractions. An arm of theirs is named after its parts, for
    example "hein_ridge_individual"; without adapter and match it is called "none", whatever the
    extraction.

    Raises:
      ConfigurationError: there is no arm, an arm sets what the experiment sets, or two arms have
        one name or are the same model.
    """
    grid = scenario.experiment
    arms = dict(_arms_of_axes(scenario))
    for name, arm in grid.arms.items():
        _require_free(name, arm)
        if name in arms and _effect(scenario, name, arms[name]) != _effect(scenario, name, arm):
            raise ConfigurationError(
                f"experiment.arms: '{name}' is also the name of an arm of experiment.adapters, "
                "matches and extractions, which is another model; rename it"
            )
        arms[name] = arm
    if not arms:
        raise ConfigurationError(
            "the experiment has no arm; name some under experiment.arms, or values of "
            "experiment.adapters, experiment.matches and experiment.extractions"
        )
    _require_different(scenario, arms)
    if grid.baseline not in arms:
        raise ConfigurationError(
            f"the experiment needs an arm called '{grid.baseline}' (experiment.baseline) to "
            f"compare with; there are {', '.join(arms)}"
        )
    return arms


def _arms_of_axes(scenario: Scenario) -> Iterator[tuple[str, Arm]]:
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
    """What makes an extraction's sources those of the adapter and of the match."""
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


def _require_free(name: str, arm: Arm) -> None:
    for key in arm.overrides:
        for taken, reason in SET_BY_EXPERIMENT.items():
            if key == taken or key.startswith(f"{taken}."):
                raise ConfigurationError(
                    f"experiment.arms: '{name}' sets {key}, but {reason}; leave it out"
                )


def _require_different(scenario: Scenario, arms: Mapping[str, Arm]) -> None:
    seen: list[tuple[str, object]] = []
    for name, arm in arms.items():
        effect = _effect(scenario, name, arm)
        for other, before in seen:
            if effect == before:
                raise ConfigurationError(
                    f"the arms '{other}' and '{name}' of the experiment are the same model; leave "
                    "one of them out"
                )
        seen.append((name, effect))


def _effect(scenario: Scenario, name: str, arm: Arm) -> dict[str, Any]:
    """Everything that training an arm depends on, without options that have no effect."""
    grid = scenario.experiment
    searched = {key: part.choices or () for key, part in grid.tuning.space.items()}
    alternatives = {"model.backbone": grid.backbones, **searched}
    try:
        changed = override_scenario(scenario, arm.overrides)
        require_effect(scenario, arm.overrides, alternatives)
    except ConfigurationError as error:
        raise ConfigurationError(f"experiment, arm '{name}': {error}") from error
    settings: dict[str, Any] = training_settings(with_effective_options(changed))
    if changed.model.adapter == "none":
        del settings["knowledge"]["sources"]
    return settings
