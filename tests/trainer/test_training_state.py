from __future__ import annotations

import json
import math

import numpy as np

from trainer.training_checkpoints import TrainingState


def reached() -> TrainingState:
    """A state whose floats have no short decimal form."""
    return TrainingState(
        epoch=2,
        step=17,
        loss_sum=0.1 + 0.2,
        losses=9,
        rows=[{"epoch": 1, "train_loss": 1 / 3, "learning_rate": 1e-3 * math.pi}],
        best={"auc": 2 / 3, "n": 135, "tasks": {"loved": {"auc": math.nextafter(0.7, 1), "n": 9}}},
        best_epoch=1,
        selection_metric="auc",
        seconds=1e-17 + 12.34,
        is_finished=True,
    )


def test_all_attributes_come_back_exactly() -> None:
    state = reached()
    again = TrainingState.from_json(state.to_json())
    assert again == state
    assert again.loss_sum != 0.3 and again.loss_sum == 0.1 + 0.2
    assert type(again.rows[0]["epoch"]) is int and type(again.best["n"]) is int
    assert TrainingState.from_json(TrainingState().to_json()) == TrainingState()


def test_numbers_of_numpy_come_back_as_they_were() -> None:
    value = np.random.default_rng(1).random()
    state = TrainingState(rows=[{"epoch": 1, "validation_auc": np.float64(value)}])
    assert TrainingState.from_json(state.to_json()).rows[0]["validation_auc"] == value


def test_losses_that_are_not_finite_survive() -> None:
    state = TrainingState(loss_sum=math.inf, losses=1)
    assert TrainingState.from_json(state.to_json()).mean_loss == math.inf
    state.loss_sum = math.nan
    assert math.isnan(TrainingState.from_json(state.to_json()).mean_loss)


def test_the_state_is_one_json_object() -> None:
    assert json.loads(reached().to_json())["rows"][0]["epoch"] == 1


def test_an_epoch_starts_at_its_first_step_and_keeps_what_came_before() -> None:
    state = reached()
    state.is_finished = False
    state.start_epoch(3)
    assert (state.epoch, state.step, state.loss_sum, state.losses) == (3, 0, 0.0, 0)
    assert state.mean_loss == 0.0
    assert (state.best_epoch, len(state.rows), state.seconds) == (1, 1, 12.34)


def test_the_mean_is_over_the_losses_that_were_noted() -> None:
    assert TrainingState(step=8, loss_sum=3.0, losses=2).mean_loss == 1.5


def test_rows_of_two_states_are_apart() -> None:
    TrainingState().rows.append({"epoch": 1})
    assert TrainingState().rows == []
