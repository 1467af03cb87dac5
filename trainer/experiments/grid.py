"""The cells of an experiment, one per backbone and arm, checked before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from configs.judging import Arm
from configs.loading import ConfigurationError, override_scenario
from configs.scenario import Scenario
from preprocessing.records.contract import CTR, RETRIEVAL
from trainer.evaluation import kind_of
from trainer.experiments.arms import SET_BY_EXPERIMENT, experiment_arms
from trainer.one_process import require_one_process
from trainer.tuning_space import check_space

_SAME_BUDGET = "all cells are trained for the same number of epochs"


@dataclass(frozen=True)
class Cell:
    """One backbone in one arm.

    Attributes:
      backbone: registry name.
      arm: name of the arm.
      scenario: resolved, but for seed and run folder.
    """

    backbone: str
    arm: str
    scenario: Scenario

    @property
    def name(self) -> str:
        """Name of the cell's folders."""
        return f"{self.backbone}_{self.arm}"

    def run(self, folder: Path, seed: int, settings: Mapping[str, object]) -> Scenario:
        """The scenario of the run of one seed.

        Args:
          folder: of all runs.
          seed: of the training.
          settings: dotted key -> value that tuning has chosen.
        """
        return override_scenario(
            self.scenario,
            {
                **settings,
                "training.seed": seed,
                "run_dir": str(folder / f"{self.name}_seed{seed}"),
            },
        )


def experiment_cells(scenario: Scenario) -> list[Cell]:
    """All cells, arm by arm, so that those that share examples stand together.

    Raises:
      ConfigurationError: a backbone does not exist, backbones or examples are of different kinds,
        an arm is not allowed, a combination is refused by the configuration, or settings cannot be
        searched.
    """
    arms = experiment_arms(scenario)
    _require_one_kind(scenario)
    cells = [
        Cell(backbone, name, _resolved(scenario, backbone, name, arm))
        for name, arm in arms.items()
        for backbone in scenario.experiment.backbones
    ]
    for cell in cells:
        _require_possible(cell)
        _check_tuning(cell, arms)
    return cells


def arm_scenarios(scenario: Scenario) -> dict[str, Scenario]:
    """Arm -> its scenario with the experiment's first backbone; arms do not depend on it."""
    backbone = scenario.experiment.backbones[0]
    return {
        name: _resolved(scenario, backbone, name, arm)
        for name, arm in experiment_arms(scenario).items()
    }


def kind_of_experiment(scenario: Scenario) -> str:
    """The kind of all models of an experiment: ctr, rerank or retrieval."""
    return kind_of(
        override_scenario(scenario, {"model.backbone": scenario.experiment.backbones[0]})
    )


def _resolved(scenario: Scenario, backbone: str, name: str, arm: Arm) -> Scenario:
    overrides = {**arm.overrides, "model.backbone": backbone, "run_dir": None}
    try:
        return override_scenario(scenario, overrides)
    except ConfigurationError as error:
        raise ConfigurationError(f"experiment, arm '{name}' of '{backbone}': {error}") from error


def _require_one_kind(scenario: Scenario) -> None:
    kinds: dict[str, list[str]] = {}
    for backbone in scenario.experiment.backbones:
        kind = kind_of(override_scenario(scenario, {"model.backbone": backbone}))
        kinds.setdefault(kind, []).append(backbone)
    if len(kinds) > 1:
        listed = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items())
        raise ConfigurationError(
            "experiment.backbones are of different kinds, which have no metric on the same "
            f"examples ({listed}); make an experiment of each kind"
        )
    (kind,) = kinds
    if kind not in scenario.data.examples:
        raise ConfigurationError(
            f"experiment.backbones are trained on '{kind}' examples, and data.examples has "
            f"{', '.join(scenario.data.examples)}; add it and run 'python -m preprocessing "
            "examples' again"
        )


def _require_possible(cell: Cell) -> None:
    model, kind = cell.scenario.model, kind_of(cell.scenario)
    where = f"experiment, arm '{cell.arm}' of '{cell.backbone}'"
    require_one_process(cell.scenario.training, "an experiment trains each of its models in")
    if kind == RETRIEVAL and model.match != "none":
        raise ConfigurationError(
            f"{where}: a retrieval model keeps candidate and history apart, which knowledge match "
            "compares; leave model.match at 'none'"
        )
    if kind != CTR and model.tasks:
        raise ConfigurationError(f"{where}: model.tasks is for ranking models")
    if kind != CTR and cell.scenario.training.selection != "auto":
        raise ConfigurationError(f"{where}: training.selection is for ranking models")


def _check_tuning(cell: Cell, arms: Mapping[str, Arm]) -> None:
    experiment = cell.scenario.experiment
    search = experiment.search_of(cell.arm)
    if not search.trials:
        return
    # All arms are trained with what is found for the baseline, so none of them may set it; and
    # since all have the same number of epochs, that may be searched.
    is_shared = search is experiment.tune_baseline
    name = "tune_baseline" if is_shared else "tuning"
    fixed = {} if is_shared else {"training.epochs": _SAME_BUDGET}
    for arm, one in arms.items() if is_shared else [(cell.arm, arms[cell.arm])]:
        fixed |= dict.fromkeys(one.overrides, f"the arm '{arm}' sets it")
    try:
        check_space(cell.scenario, search.space, {**fixed, **SET_BY_EXPERIMENT})
    except ConfigurationError as error:
        raise ConfigurationError(
            f"experiment.{name}.space, arm '{cell.arm}' of '{cell.backbone}': {error}"
        ) from error
