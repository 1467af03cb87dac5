"""Whether all arms were trained alike, and with which settings."""

from __future__ import annotations

from collections.abc import Mapping

from configs.scenario import Scenario

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
        changed = [
            f"{name} {value} (not {shared[name]})"
            for name, value in _settings(resolved).items()
            if value != shared[name]
        ]
        if changed:
            deviations.append(f"Arm '{arm}' differs: {'; '.join(changed)}.")
    term = "Budget, not the same in all arms" if deviations else "Same budget in all arms"
    where = "Knowledge dropout acts on arms with an adapter, expert dropout on arms with HEIN."
    return term, " ".join([f"{listed[0].upper()}{listed[1:]}.", where, *deviations])


def _settings(scenario: Scenario) -> dict[str, str]:
    """What people call a setting -> its value; all that shapes training but the seed."""
    training, model = scenario.training, scenario.model
    return {
        "epochs": f"{training.epochs} at most",
        "patience": f"{training.patience} epochs without a better validation AUC",
        "batch size": f"{training.batch_size}",
        "optimizer": f"Adam with learning rate {training.learning_rate:g}, "
        f"{_SCHEDULES[training.schedule]}",
        "L2 factor on the id embeddings of a batch": f"{training.embedding_regularization:g}",
        "dropout": f"{model.dropout_rate:g}",
        "id dropout": f"{model.id_dropout_rate:g}",
        "knowledge dropout": f"{model.knowledge_dropout_rate:g}",
        "expert dropout": f"{model.hein.dropout_rate:g}",
    }
