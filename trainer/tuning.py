"""Searching for good settings with Optuna, on the validation part, so that it can be resumed."""

from __future__ import annotations

import json
import math
import shutil
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from configs.command_line import CommandError
from configs.contract_versions import contract_version
from configs.effects import training_settings
from configs.files import LOCK_FILE
from configs.loading import ConfigurationError, override_scenario
from configs.scenario import Scenario
from trainer.run_folder import RunFolder, RunMetrics
from trainer.run_identity import is_up_to_date
from trainer.tables import data_fingerprint
from trainer.tuning_space import Space, distributions, drawn_of, settings_of

if TYPE_CHECKING:
    import optuna

_IDENTITY_FILE = "study.json"
STUDY_FILE = "study.db"
_TRIAL_FILES = ("trial[0-9]*", ".trial[0-9]*", f"{STUDY_FILE}*")


def study_identity(scenario: Scenario, space: Space, seed: int) -> dict[str, object]:
    """Everything that two trials of a search have in common."""
    return {
        "settings": training_settings(scenario),
        "space": {key: searched.model_dump(mode="json") for key, searched in space.items()},
        "seed": seed,
        "data": data_fingerprint(scenario),
        "code_version": contract_version("training"),
    }


def claim_folder(folder: Path, identity: Mapping[str, object], restart: bool) -> None:
    """Makes a folder that of a search, unless it is already.

    Args:
      folder: made if it does not exist.
      identity: of the search.
      restart: whether the trials of another search are removed, in place of an error.

    Raises:
      CommandError: the folder holds another search, or other files.
    """
    path = folder / _IDENTITY_FILE
    text = _identity_text(identity)
    if not restart:
        require_claimable(folder, identity)
    if not path.exists():
        _require_empty(folder)
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return
    if not _changed(folder, identity):
        return
    for pattern in _TRIAL_FILES:
        for old in folder.glob(pattern):
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    path.write_text(text, encoding="utf-8")


def require_claimable(folder: Path, identity: Mapping[str, object]) -> None:
    """Makes sure that a folder is that of a search, or can become it; args as `claim_folder`'s.

    Raises:
      CommandError: the folder holds another search, or other files.
    """
    if not (folder / _IDENTITY_FILE).exists():
        _require_empty(folder)
        return
    changed = _changed(folder, identity)
    if changed:
        raise CommandError(
            f"{folder} holds a study about something else (changed: {', '.join(changed)}), whose "
            "trials cannot be compared with new ones; name another folder, or remove this one"
        )


def _identity_text(identity: Mapping[str, object]) -> str:
    return json.dumps(identity, indent=1, sort_keys=True, default=str)


def _changed(folder: Path, identity: Mapping[str, object]) -> list[str]:
    before = json.loads((folder / _IDENTITY_FILE).read_text(encoding="utf-8"))
    now = json.loads(_identity_text(identity))
    return [name for name in now if before.get(name) != now[name]]


def _require_empty(folder: Path) -> None:
    there = [] if not folder.exists() else list(folder.iterdir())
    if any(path.name != LOCK_FILE for path in there):
        raise CommandError(
            f"{folder} holds other files than a study's; name another folder, or empty it"
        )


EpochRow = Mapping[str, float]
OnEpoch = Callable[[EpochRow], None]
TrainTrial = Callable[[Scenario, Sequence[OnEpoch]], RunMetrics]
"""Trains a scenario's run and calls the listeners with every row of history.csv."""

TrialState = Literal["complete", "failed", "pruned"]

_STUDY_NAME = "settings"
_NUMBER, _SETTINGS, _REASON, _SECONDS = "number", "settings", "reason", "seconds"
_TRIALS_BEFORE_PRUNING, _FIRST_EPOCH_OF_PRUNING = 5, 2


class SettingFailed(Exception):
    """These settings cannot be trained; the trial counts, and the search goes on."""


class _Pruned(Exception):
    """The trial is worse than others were at this epoch."""


@dataclass(frozen=True)
class Trial:
    """One setting that was tried.

    Attributes:
      number: counted from 1.
      settings: dotted key -> value.
      state: "complete", "failed" (these settings cannot be trained) or "pruned".
      value: validation result by the study's metric; None where there is none.
      seconds: of training and validation.
      reason: why it has no value, "" if it has one.
      run: its run folder.
    """

    number: int
    settings: Mapping[str, object]
    state: TrialState
    value: float | None
    seconds: float
    reason: str
    run: Path


class Study:
    """A search over a space for one scenario.

    What the n-th trial tries depends on the seed, on n and on the results before it, so a study
    that was interrupted goes on as an unbroken one would have. The first trial has the scenario's
    own settings, if the space has them.

    Attributes:
      folder: where everything is.
      metric: the validation metric by which trials are judged; "" before the first one is complete.
    """

    def __init__(
        self,
        folder: Path,
        scenario: Scenario,
        space: Space,
        seed: int,
        restart: bool = False,
        prune: bool = False,
    ):
        """Opens the study of a folder, or begins one.

        A trial that was running when its process was killed is replaced; the caller makes sure that
        no other process is at work in the folder.

        Args:
          folder: of this study alone.
          scenario: what the settings are set in.
          space: dotted key -> range, checked by `check_space`.
          seed: of the search.
          restart: whether a study about something else is removed, in place of an error.
          prune: whether trials end early that are worse than the median of others so far.

        Raises:
          CommandError: the folder holds a study about something else.
        """
        self.folder = folder
        self._scenario = scenario
        self._space = space
        self._seed = seed
        self._prune = prune
        claim_folder(folder, study_identity(scenario, space, seed), restart)
        self._distributions = distributions(scenario, space)
        self._study = _opened(folder / STUDY_FILE)

    @property
    def metric(self) -> str:
        """Name of the validation metric."""
        return self._study.user_attrs.get("metric", "")

    @property
    def trials(self) -> list[Trial]:
        """All trials that count, in order."""
        counted = [self._trial(frozen) for frozen in self._counted()]
        return sorted(counted, key=lambda trial: trial.number)

    def run(
        self, trials: int, train: TrainTrial, on_trial: Callable[[Trial], None] = lambda trial: None
    ) -> None:
        """Tries settings until there are so many trials.

        Args:
          trials: how many there are at the end, those of earlier calls included.
          train: trains the run of a trial; `SettingFailed` ends the trial, any other error the
            search, and the trial is repeated when the search goes on.
          on_trial: called with every new trial.
        """
        while len(self._counted()) < trials:
            number = len(self._counted()) + 1
            asked = self._ask(number)
            self._try(asked, number, train)
            on_trial(self._trial(self._study.trials[asked.number]))

    def _ask(self, number: int) -> optuna.trial.Trial:
        import optuna

        # A sampler's random numbers begin anew in every process: seeding it for each trial makes
        # them the same whether or not the process is.
        seed = int(np.random.SeedSequence([self._seed, number]).generate_state(1)[0])
        self._study.sampler = optuna.samplers.TPESampler(seed=seed)
        states = [optuna.trial.TrialState.WAITING]
        own = drawn_of(self._scenario, self._space)
        if number == 1 and own is not None and not self._study.get_trials(states=states):
            self._study.enqueue_trial(own)
        asked = self._study.ask(self._distributions)
        asked.set_user_attr(_NUMBER, number)
        asked.set_user_attr(_SETTINGS, settings_of(self._space, asked.params))
        return asked

    def _try(self, asked: optuna.trial.Trial, number: int, train: TrainTrial) -> None:
        from optuna.trial import TrialState as State

        folder = RunFolder(self._run_folder(number))
        settings = settings_of(self._space, asked.params)
        listeners = [self._pruner(asked)] if self._prune else []
        try:
            scenario = self._set(settings, folder)
            is_there = is_up_to_date(folder, scenario)
            metrics = folder.read_metrics() if is_there else train(scenario, listeners)
        except (SettingFailed, _Pruned) as error:
            shutil.rmtree(folder.unfinished, ignore_errors=True)
            asked.set_user_attr(_REASON, str(error))
            state = State.PRUNED if isinstance(error, _Pruned) else State.FAIL
            self._study.tell(asked, state=state)
            return
        metric = metrics["selection_metric"]
        value = float(metrics["validation"][metric])
        asked.set_user_attr(_SECONDS, metrics["train_seconds"])
        self._study.set_user_attr("metric", metric)
        if math.isfinite(value):
            self._study.tell(asked, value)
        else:
            asked.set_user_attr(_REASON, f"validation {metric} is {value}")
            self._study.tell(asked, state=State.FAIL)

    def _set(self, settings: Mapping[str, object], folder: RunFolder) -> Scenario:
        try:
            return override_scenario(self._scenario, {**settings, "run_dir": str(folder.path)})
        except ConfigurationError as error:
            raise SettingFailed(str(error)) from error

    def _pruner(self, asked: optuna.trial.Trial) -> OnEpoch:
        def report(row: EpochRow) -> None:
            metric = self.metric
            if not metric:
                return
            value, epoch = row[f"validation_{metric}"], int(row["epoch"])
            asked.report(value, epoch)
            if asked.should_prune():
                raise _Pruned(
                    f"after epoch {epoch} its validation {metric}, {value:.4f} at best so far or "
                    "less, was below the median of the trials before"
                )

        return report

    def _counted(self) -> list[optuna.trial.FrozenTrial]:
        """Trials that have ended by themselves."""
        return [trial for trial in self._study.trials if _counts(trial)]

    def _trial(self, trial: optuna.trial.FrozenTrial) -> Trial:
        attributes = trial.user_attrs
        states: dict[str, TrialState] = {"COMPLETE": "complete", "PRUNED": "pruned"}
        state = states.get(trial.state.name, "failed")
        return Trial(
            number=attributes[_NUMBER],
            settings=attributes[_SETTINGS],
            state=state,
            value=trial.value if state == "complete" else None,
            seconds=attributes.get(_SECONDS, _duration(trial)),
            reason=attributes.get(_REASON, ""),
            run=self._run_folder(attributes[_NUMBER]),
        )

    def _run_folder(self, number: int) -> Path:
        return self.folder / f"trial{number:04d}"


def best_trial(trials: Sequence[Trial]) -> Trial | None:
    """The trial with the best validation result, the earliest of equals; None if none has one."""
    complete = [trial for trial in trials if trial.value is not None]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def _opened(path: Path) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        study_name=_STUDY_NAME,
        # Not an address of the path, in which ? and % mean something else.
        storage=optuna.storages.RDBStorage(
            "sqlite://", engine_kwargs={"creator": lambda: sqlite3.connect(path)}
        ),
        direction="maximize",
        load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=_TRIALS_BEFORE_PRUNING, n_warmup_steps=_FIRST_EPOCH_OF_PRUNING
        ),
    )
    for trial in study.get_trials(states=[optuna.trial.TrialState.RUNNING]):
        study.tell(trial.number, state=optuna.trial.TrialState.FAIL)
    return study


def _counts(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether a trial has ended by itself; one that was interrupted failed without a reason."""
    failed_by_itself = trial.state.name == "FAIL" and _REASON in trial.user_attrs
    return trial.state.name in ("COMPLETE", "PRUNED") or failed_by_itself


def _duration(trial: optuna.trial.FrozenTrial) -> float:
    return 0.0 if trial.duration is None else round(trial.duration.total_seconds(), 3)
