"""Whether all arms were trained alike, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping

from configs.judging import SearchRange
from configs.scenario import Scenario
from configs.training import Training

_FURTHER = (
    "embedding_optimizer",
    "embedding_learning_rate",
    "warmup_steps",
    "weight_decay",
    "gradient_clip_norm",
    "class_weights",
    "list_loss",
    "selection",
    "precision",
    "input",
)
_OPTIMIZERS = {"adam": "Adam", "lazy_adam": "lazy Adam", "adagrad": "Adagrad", "sgd": "SGD"}
_SCHEDULES = {
    "constant": "kept constant",
    "cosine": "falling to 0 along a cosine over all epochs",
}


def budget_entry(scenario: Scenario, arms: Mapping[str, Scenario]) -> tuple[str, str]:
    """Training and regularisation settings of an experiment: (term, sentences).

    Args:
      scenario: the scenario whose settings hold where an arm says nothing else.
      arms: arm -> its resolved scenario.
    """
    shared = _settings(scenario)
    listed = "; ".join(f"{name} {value}" for name, value in shared.items())
    deviations = []
    for arm, resolved in arms.items():
        own = _settings(resolved)
        changed = [
            f"{name} {own.get(name, 'as by default')} (not {shared.get(name, 'as by default')})"
            for name in {**shared, **own}
            if own.get(name) != shared.get(name)
        ]
        if changed:
            deviations.append(f"Arm '{arm}' differs: {'; '.join(changed)}.")
    term = "Budget, not the same in all arms" if deviations else "Same budget in all arms"
    where = "Knowledge dropout acts on arms with an adapter, expert dropout on arms with HEIN."
    tuned = _tuning_sentences(scenario)
    return term, " ".join([f"{listed[0].upper()}{listed[1:]}.", where, *tuned, *deviations])


def _tuning_sentences(scenario: Scenario) -> list[str]:
    experiment = scenario.experiment
    is_shared = bool(experiment.tune_baseline.trials)
    tuning = experiment.tune_baseline if is_shared else experiment.tuning
    if not tuning.trials:
        return ["No settings were searched."]
    of_what = (
        f"the arm '{experiment.baseline}' of each backbone"
        if is_shared
        else "each cell (backbone and arm)"
    )
    trained = "every seed of all its arms" if is_shared else "every seed"
    return [
        f"Of {of_what} {tuning.trials} settings were tried, over the same space "
        f"({'; '.join(f'{key} {range_text(one)}' for key, one in tuning.space.items())}), with the "
        f"same search seed ({tuning.seed}) and the first training seed ({experiment.seeds[0]}), "
        f"and judged on the validation part; with the best ones {trained} was trained."
    ]


def range_text(searched: SearchRange) -> str:
    """What was searched, e.g. "0.0001 to 0.01, logarithmic"."""
    if searched.choices is not None:
        return f"among {', '.join(map(str, searched.choices))}"
    how = ", logarithmic" if searched.log else ""
    step = "" if searched.step is None else f" in steps of {searched.step:g}"
    return f"{searched.low:g} to {searched.high:g}{step}{how}"


def _settings(scenario: Scenario) -> dict[str, str]:
    """What people call a setting -> its value; all that shapes training but the seed."""
    training, model = scenario.training, scenario.model
    return {
        "epochs": f"{training.epochs} at most",
        "patience": f"{training.patience} epochs without a better validation result",
        "batch size": f"{training.batch_size}",
        "optimizer": f"{_OPTIMIZERS[training.optimizer]} with learning rate "
        f"{training.learning_rate:g}, {_SCHEDULES[training.schedule]}",
        "L2 factor on the id embeddings of a batch": f"{training.embedding_regularization:g}",
        "dropout": f"{model.dropout_rate:g}",
        "id dropout": f"{model.id_dropout_rate:g}",
        "knowledge dropout": f"{model.knowledge_dropout_rate:g}",
        "expert dropout": f"{model.hein.dropout_rate:g}",
        **{_words(name): str(value) for name, value in _changed_training(training).items()},
    }


def _changed_training(training: Training) -> dict[str, object]:
    """Further settings of training, where they are not the default."""
    default = Training()
    return {
        name: getattr(training, name)
        for name in _FURTHER
        if getattr(training, name) != getattr(default, name)
    }


def _words(name: str) -> str:
    return name.replace("_", " ")
