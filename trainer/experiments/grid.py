"""The cells of an experiment, one per backbone and arm, checked before anything is trained."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from configs.arms import arms_of_axes
from configs.command_line import CommandError
from configs.effects import declared
from configs.experiment import Arm
from configs.loading import (
    ConfigurationError,
    override_scenario,
    read_yaml_file,
    require_effect,
)
from configs.scenario import Scenario
from configs.section import FixedInArms
from models.building import build_model
from preprocessing.records.layout import WorkDirectory
from trainer.distribution.cluster import require_one_process
from trainer.evaluation.runs import kind_of
from trainer.examples import ExampleStore
from trainer.model_kinds import MODEL_KINDS, reason_of
from trainer.run_folder import create_weights
from trainer.run_identity import run_settings
from trainer.tables import require_named_inputs
from trainer.tuning_space import check_space

EXPERIMENT_FILE = "experiment.yaml"
"""The resolved scenario in an experiment's folder."""

SET_BY_EXPERIMENT = {key: fixed.reason for key, fixed in declared(Scenario, FixedInArms)}
"""Keys that an arm leaves alone, and why."""


def experiment_arms(scenario: Scenario) -> dict[str, Arm]:
    """All arms by name: those of the axes first.

    Raises:
      ConfigurationError: an arm of the axes cannot be, there is no arm, an arm sets what the
        experiment sets, or two arms have one name or are the same model.
    """
    grid = scenario.experiment
    arms = dict(arms_of_axes(scenario))
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
    """The settings that training an arm depends on."""
    grid = scenario.experiment
    searched = {key: part.choices or () for key, part in grid.tuning.space.items()}
    alternatives = {"model.backbone": grid.backbones, **searched}
    try:
        changed = override_scenario(scenario, arm.overrides)
        require_effect(scenario, arm.overrides, alternatives)
    except ConfigurationError as error:
        raise ConfigurationError(f"experiment, arm '{name}': {error}") from error
    return run_settings(changed)


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
    model, kind = cell.scenario.model, MODEL_KINDS[kind_of(cell.scenario)]
    where = f"experiment, arm '{cell.arm}' of '{cell.backbone}'"
    require_one_process(cell.scenario.training, "an experiment trains each of its models in")
    if not kind.has_match and model.match != "none":
        raise ConfigurationError(
            f"{where}: a retrieval model keeps candidate and history apart, which knowledge match "
            "compares; leave model.match at 'none'"
        )
    if not kind.has_tasks and model.tasks:
        raise ConfigurationError(f"{where}: model.tasks is for ranking models")
    if not kind.has_selection and cell.scenario.training.selection != "auto":
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


def require_ready(cells: Sequence[Cell], store: ExampleStore) -> None:
    """Reads the tables of every cell and builds its model once.

    Args:
      cells: of the experiment.
      store: keeps the tables.

    Raises:
      CommandError: knowledge of a source has not been encoded.
      ConfigurationError: the data was built with other settings or from other files than a cell
        asks for, or a model cannot be built.
      preprocessing.records.contract.DamagedRecords: a data file is missing or damaged.
    """
    _require_knowledge(cells)
    for cell in cells:
        require_named_inputs(cell.scenario)
        tables = store.tables(cell.scenario)
        tf.keras.backend.clear_session()
        try:
            create_weights(build_model(cell.scenario, tables))
        except (TypeError, ValueError) as error:
            raise ConfigurationError(
                f"experiment, arm '{cell.arm}' of '{cell.backbone}': the model cannot be built: "
                f"{reason_of(error)}"
            ) from error


def missing_data(cells: Sequence[Cell]) -> list[str]:
    """Data of an experiment that was not built yet, in words; reads no files."""
    work = WorkDirectory(cells[0].scenario.work_dir)
    examples = [] if work.examples.manifest.exists() else ["examples"]
    readers = _missing_knowledge(cells)
    return examples + [f"knowledge vectors of {text}" for text in _with_arms(readers)]


def _missing_knowledge(cells: Sequence[Cell]) -> dict[str, list[str]]:
    """Source without vectors -> the arms that read it."""
    readers: dict[str, list[str]] = {}
    for cell in cells:
        work = WorkDirectory(cell.scenario.work_dir)
        for source in cell.scenario.knowledge_sources():
            if not work.knowledge(source).manifest.exists():
                readers.setdefault(source, []).append(cell.arm)
    return readers


def _with_arms(readers: Mapping[str, Sequence[str]]) -> list[str]:
    return [
        f"'{source}' (arms {', '.join(dict.fromkeys(arms))})" for source, arms in readers.items()
    ]


def _require_knowledge(cells: Sequence[Cell]) -> None:
    # Where nothing was built at all, reading the tables says what to do.
    if not WorkDirectory(cells[0].scenario.work_dir).examples.manifest.exists():
        return
    readers = _missing_knowledge(cells)
    if readers:
        listed = "; ".join(_with_arms(readers))
        options = "".join(f" --source {source}" for source in readers)
        raise CommandError(
            f"{cells[0].scenario.work_dir} has no knowledge vectors of {listed}; run "
            f"'python -m preprocessing encode --config FILE.yaml{options}'"
        )


def experiment_folder(scenario: Scenario) -> Path:
    """The folder of a scenario's experiment, named after the scenario.

    Raises:
      CommandError: an experiment of another name is there; names may differ in characters that
        folders do not have.
    """
    name = re.sub(r"[^\w.+-]+", "-", scenario.name).lstrip(".-") or "experiment"
    folder = Path(scenario.work_dir) / "experiments" / name
    written = folder / EXPERIMENT_FILE
    tree = read_yaml_file(written) if written.is_file() else None
    there = tree.get("name") if isinstance(tree, dict) else scenario.name
    if there != scenario.name:
        raise CommandError(
            f"{folder} holds the experiment '{there}', and this one is '{scenario.name}'; change "
            "its 'name', or name another folder with --out"
        )
    return folder
