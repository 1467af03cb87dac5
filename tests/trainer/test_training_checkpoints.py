from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from configs.command_line import CommandError
from models.backbones import BACKBONES
from models.building import build_model
from tests.full_disk import files_no_longer_than
from tests.runs import shared_store
from tests.scenarios import rich_scenario
from tests.trainer.toy_training import ToyModel, toy_examples, toy_model, values_of
from trainer.distribution import Distribution
from trainer.run_folder import create_weights
from trainer.training_checkpoints import (
    TrainingCheckpoints,
    TrainingState,
    changing_weights,
    random_states,
    restorable_random_numbers,
)
from trainer.training_input import MemoryInput

IDENTITY = {"settings": {"training": {"seed": 1}}, "code_version": "0a1b"}


def checkpoints_of(
    run: Path, model: ToyModel, identity: dict[str, object] | None = None
) -> TrainingCheckpoints:
    return TrainingCheckpoints(run, identity or IDENTITY, model)


def make_steps(model: ToyModel, count: int, epoch: int = 0) -> list[float]:
    """Trains and returns the losses."""
    batches = MemoryInput(toy_examples(), 8, seed=1).epoch(epoch).repeat()
    return [float(model.train_step(batch)["loss"]) for batch in batches.take(count)]


def test_a_training_goes_on_as_if_it_had_not_been_interrupted(tmp_path: Path) -> None:
    model = toy_model()
    make_steps(model, 3)
    checkpoints_of(tmp_path, model).save(TrainingState(epoch=1, step=3, loss_sum=0.1 + 0.2))
    expected = make_steps(model, 4, epoch=1)

    again = toy_model()
    make_steps(again, 1)
    state = checkpoints_of(tmp_path, again).restore()
    assert state == TrainingState(epoch=1, step=3, loss_sum=0.1 + 0.2)
    assert int(again.optimizer.iterations) == 3
    # Dropout, moving statistics, momenta and the rate's schedule are all in the losses.
    assert make_steps(again, 4, epoch=1) == expected
    for value, other in zip(values_of(again), values_of(model), strict=True):
        np.testing.assert_array_equal(value, other)


def test_there_is_nothing_to_restore_at_first(tmp_path: Path) -> None:
    run = tmp_path / "runs" / ".run.unfinished"
    assert checkpoints_of(run, toy_model()).restore() is None
    assert run.is_dir()


def test_the_last_checkpoint_counts_and_few_are_kept(tmp_path: Path) -> None:
    model = toy_model()
    for step in range(1, 6):
        # A process of its own for every checkpoint.
        checkpoints = checkpoints_of(tmp_path, model)
        checkpoints.restore()
        checkpoints.save(TrainingState(step=step))
    assert checkpoints_of(tmp_path, model).restore() == TrainingState(step=5)
    assert len(list(checkpoints.folder.rglob("*.index"))) == 2


def test_the_best_weights_come_back_and_earlier_ones_go(tmp_path: Path) -> None:
    model = toy_model()
    checkpoints = checkpoints_of(tmp_path, model)
    best = {}
    for epoch in (1, 2, 12):
        make_steps(model, 2)
        best[epoch] = values_of(model)
        checkpoints.save_best(epoch)
        # Whoever is killed here goes on from a state that has the earlier one.
        assert len(list(checkpoints.folder.glob("best-*.index"))) == min(epoch, 2)
        checkpoints.save(TrainingState(epoch=epoch, best_epoch=epoch))
        assert [path.name for path in checkpoints.folder.glob("*.index")] == [f"best-{epoch}.index"]
    make_steps(model, 2)
    steps = int(model.optimizer.iterations)
    checkpoints.restore_best(12)
    for value, expected in zip(values_of(model), best[12], strict=True):
        np.testing.assert_array_equal(value, expected)
    assert int(model.optimizer.iterations) == steps


def test_what_a_killed_process_was_writing_is_in_nobodys_way(tmp_path: Path) -> None:
    model = toy_model()
    checkpoints = checkpoints_of(tmp_path, model)
    checkpoints.save(TrainingState(step=1))
    for name in ("best-1_temp", "best-2_temp", "steps/ckpt-2_temp"):
        (checkpoints.folder / name).mkdir()
        (checkpoints.folder / name / "part-00000.tempstate1").write_text("half")
    again = checkpoints_of(tmp_path, model)
    assert again.restore() == TrainingState(step=1)
    again.save_best(1)
    again.save(TrainingState(step=2, best_epoch=1))
    again.restore_best(1)
    assert checkpoints_of(tmp_path, model).restore() == TrainingState(step=2, best_epoch=1)
    assert not list(checkpoints.folder.glob("best-*_temp"))


class SecondWorker(Distribution):
    """A process beside the chief, who has written three checkpoints."""

    def chief_value(self, number: float) -> float:
        assert number == 0
        return 3.0


def second_worker(run: Path, model: ToyModel) -> TrainingCheckpoints:
    return TrainingCheckpoints(run, IDENTITY, model, SecondWorker(is_chief=False))


def test_workers_restore_what_the_chief_has_written_and_leave_it_alone(tmp_path: Path) -> None:
    model = toy_model()
    chief = checkpoints_of(tmp_path, model)
    for step in (1, 2, 3):
        make_steps(model, 1)
        chief.save(TrainingState(step=step))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    other = toy_model(seed=2)
    checkpoints = second_worker(tmp_path, other)
    assert checkpoints.restore() == TrainingState(step=3)
    for value, expected in zip(values_of(other), values_of(model), strict=True):
        np.testing.assert_array_equal(value, expected)
    checkpoints.save_best(1)
    checkpoints.save(TrainingState(step=4))
    checkpoints.restore_best(1)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_workers_need_to_see_the_folder_of_the_chief(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"ckpt-3, .* run_dir must be in a folder that all work"):
        second_worker(tmp_path / "elsewhere", toy_model()).restore()


def test_a_lost_process_is_no_matter_of_the_disk(tmp_path: Path) -> None:
    checkpoints = checkpoints_of(tmp_path, toy_model())

    class Lost(tf.train.CheckpointManager):
        def save(self) -> None:
            raise tf.errors.UnavailableError(None, None, "failed to connect")

    checkpoints._manager = Lost(tf.train.Checkpoint(), str(tmp_path / "other"), max_to_keep=1)
    with pytest.raises(tf.errors.UnavailableError):
        checkpoints.save(TrainingState())


@pytest.mark.parametrize(
    ("identity", "named"),
    [
        ({**IDENTITY, "settings": {"training": {"seed": 2}}}, "training.seed"),
        ({**IDENTITY, "code_version": "1"}, "code_version"),
        ({"code_version": "1"}, "code_version, training.seed"),
    ],
)
def test_another_training_starts_anew_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], identity: dict[str, object], named: str
) -> None:
    model = toy_model()
    checkpoints_of(tmp_path, model).save(TrainingState(step=1))
    (tmp_path / "history.csv").write_text("of the one before")
    assert capsys.readouterr().err == ""
    checkpoints = checkpoints_of(tmp_path, model, identity)
    assert capsys.readouterr().err == (
        f"{tmp_path}: training starts anew; an interrupted one that differs in {named} is "
        "thrown away\n"
    )
    assert checkpoints.restore() is None
    assert not (tmp_path / "history.csv").exists()
    checkpoints.save(TrainingState(step=2))
    assert checkpoints_of(tmp_path, model, identity).restore() == TrainingState(step=2)
    assert capsys.readouterr().err == ""


def test_nothing_is_said_where_no_step_is_lost(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoints_of(tmp_path, toy_model())
    checkpoints_of(tmp_path, toy_model(), {"code_version": "1"})
    assert capsys.readouterr().err == ""


def cut_off(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:40])


def flip(path: Path) -> None:
    contents = bytearray(path.read_bytes())
    contents[10] ^= 255
    path.write_bytes(contents)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [
        ("*.data*", cut_off),
        ("*.data*", flip),
        ("*.data*", Path.unlink),
        ("*.index", cut_off),
        ("*.index", Path.unlink),
        ("checkpoint", empty),
    ],
)
def test_a_damaged_checkpoint_is_named_with_the_way_out(
    tmp_path: Path, pattern: str, damage: Callable[[Path], None]
) -> None:
    model = toy_model()
    checkpoints = checkpoints_of(tmp_path, model)
    checkpoints.save(TrainingState(step=1))
    (path,) = (checkpoints.folder / "steps").glob(pattern)
    damage(path)
    with pytest.raises(CommandError) as caught:
        checkpoints_of(tmp_path, model).restore()
    assert str(caught.value).startswith(f"{tmp_path}: a checkpoint of the interrupted training is ")
    assert str(caught.value).endswith("remove the folder to train from the beginning")
    shutil.rmtree(tmp_path)
    assert checkpoints_of(tmp_path, model).restore() is None


def test_damaged_best_weights_are_named(tmp_path: Path) -> None:
    model = toy_model()
    checkpoints = checkpoints_of(tmp_path, model)
    checkpoints.save_best(1)
    (path,) = checkpoints.folder.glob("best-1.data*")
    cut_off(path)
    with pytest.raises(CommandError, match="is damaged .* remove the folder"):
        checkpoints.restore_best(1)


def test_a_damaged_identity_is_that_of_another_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = toy_model()
    checkpoints = checkpoints_of(tmp_path, model)
    checkpoints.save(TrainingState(step=1))
    cut_off(checkpoints.folder / "identity.json")
    assert checkpoints_of(tmp_path, model).restore() is None
    assert "differs in identity.json is thrown away" in capsys.readouterr().err


def test_a_disk_that_is_full_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    model = toy_model()
    checkpoints = checkpoints_of(tmp_path, model)
    checkpoints.save(TrainingState(step=1))
    expected = values_of(model)
    make_steps(model, 1)
    for write in (
        lambda: checkpoints.save(TrainingState(step=2)),
        lambda: checkpoints.save_best(1),
    ):
        with (
            files_no_longer_than(20),
            pytest.raises(CommandError, match=r"cannot be written \(.*\); once it can, the same"),
        ):
            write()
    again = toy_model(seed=2)
    restored = checkpoints_of(tmp_path, again)
    assert restored.restore() == TrainingState(step=1)
    for value, other in zip(values_of(again), expected, strict=True):
        np.testing.assert_array_equal(value, other)
    restored.save(TrainingState(step=3))
    assert checkpoints_of(tmp_path, toy_model()).restore() == TrainingState(step=3)


def test_only_what_training_changes_is_kept(tmp_path: Path) -> None:
    model = toy_model()
    names = {weight.name.split(":")[0] for weight in changing_weights(model)}
    assert len(names) == 6 and not any("untrained" in name for name in names)
    checkpoints_of(tmp_path, model).save(TrainingState())
    model.untrained.assign_add(tf.ones_like(model.untrained))
    checkpoints_of(tmp_path, model).restore()
    np.testing.assert_array_equal(model.untrained, 2 * np.ones(3))


OTHERS = [*(name for name in BACKBONES if name not in ("din", "dcnv2")), "dlcm", "setrank", "mir"]


@pytest.mark.parametrize(
    "backbone",
    [
        "din",
        "dcnv2",
        "prm",
        "two_tower",
        *(pytest.param(x, marks=pytest.mark.slow) for x in OTHERS),
    ],
)
def test_no_other_weight_of_any_model_changes_in_training(backbone: str) -> None:
    match = {} if backbone == "two_tower" else {"model__match": "ridge"}
    scenario = rich_scenario(model__backbone=backbone, model__prior=True, **match)
    with restorable_random_numbers():
        model = build_model(scenario, shared_store().tables(scenario))
        create_weights(model)
    model.compile(tf.keras.optimizers.SGD(0.1))
    model.optimizer.build(model.trainable_variables)
    examples = MemoryInput(shared_store().examples(scenario, model, "train"), 64, seed=1)
    changing = [*changing_weights(model), *random_states(model), *model.optimizer.variables]
    variables = {id(each): each for module in model.submodules for each in module.variables}
    others = [variables[key] for key in variables.keys() - {id(each) for each in changing}]
    assert len(others) > 5
    before = [variable.numpy() for variable in others]
    for batch in examples.epoch(0).take(2):
        model.train_step(batch)
    for variable, value in zip(others, before, strict=True):
        np.testing.assert_array_equal(variable, value, err_msg=variable.name)


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
    assert again == state and json.loads(state.to_json())["rows"] == state.rows
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


RANDOM = {
    "model__dropout_rate": 0.3,
    "model__id_dropout_rate": 0.3,
    "model__id_dropout_hides": "interactions",
    "model__knowledge_dropout_rate": 0.3,
}


def configurations() -> Iterator[object]:
    """Every kind of model and adapter; the other backbones are slow tests."""
    yield "prm", {}
    yield "two_tower", {}
    hidden = {"model__hein__dropout_rate": 0.3, "model__knowledge_match__dropout_rate": 0.5}
    yield "din", {"model__match": "ridge", **hidden}
    others = [name for name in BACKBONES if name != "din"]
    for name in [*others, "dlcm", "setrank", "mir"]:
        yield pytest.param(name, {}, marks=pytest.mark.slow, id=name)
    adapters = {
        "mlp": {"model__mlp__units": [8], "model__mlp__dropout_rate": 0.3},
        "moe": {"model__moe__expert_units": [8], "model__moe__dropout_rate": 0.3},
        "pq": {"model__pq__num_codebooks": 3, "model__pq__codebook_size": 4},
        "replace_id": {},
    }
    for adapter, options in adapters.items():
        changes = {"model__adapter": adapter, "knowledge__sources": ["item"], **options}
        yield pytest.param("din", changes, marks=pytest.mark.slow, id=f"din-{adapter}")


@pytest.mark.parametrize(("backbone", "changes"), configurations())
def test_whatever_a_training_step_draws_follows_from_the_states(
    backbone: str, changes: dict[str, object]
) -> None:
    scenario = rich_scenario(model__backbone=backbone, **RANDOM, **changes)
    with restorable_random_numbers():
        model = build_model(scenario, shared_store().tables(scenario))
        create_weights(model)
    states = random_states(model)
    assert len({id(state) for state in states}) == len(states) >= 2
    examples = shared_store().examples(scenario, model, "train")
    batch = next(iter(MemoryInput(examples, 64, seed=1).epoch(0)))

    @tf.function
    def loss() -> tf.Tensor:
        return model.compute_loss(batch, training=True)

    before = [state.numpy() for state in states]
    first, second = float(loss()), float(loss())
    assert first != second
    for state, value in zip(states, before, strict=True):
        state.assign(value)
    assert float(loss()) == first
    # None of the states came into being after they were asked for.
    assert len(random_states(model)) == len(states)


def test_layers_made_outside_have_no_state() -> None:
    with restorable_random_numbers():
        inside = tf.keras.Sequential([tf.keras.layers.Dropout(0.5)])
        inside(tf.ones([1, 2]))
    outside = tf.keras.Sequential([tf.keras.layers.Dropout(0.5)])
    outside(tf.ones([1, 2]))
    assert (len(random_states(inside)), len(random_states(outside))) == (1, 0)


def test_the_setting_before_comes_back_also_after_an_error() -> None:
    backend = tf.keras.backend.experimental
    assert not backend.is_tf_random_generator_enabled()
    with pytest.raises(KeyError), restorable_random_numbers():
        assert backend.is_tf_random_generator_enabled()
        raise KeyError
    assert not backend.is_tf_random_generator_enabled()
    with restorable_random_numbers():
        with restorable_random_numbers():
            pass
        assert backend.is_tf_random_generator_enabled()


def test_equal_seeds_make_equal_states() -> None:
    made = []
    for seed in (1, 1, 2):
        tf.keras.utils.set_random_seed(seed)
        with restorable_random_numbers():
            model = tf.keras.Sequential([tf.keras.layers.Dropout(0.5) for _ in range(2)])
            model(tf.ones([1, 2]))
        made.append([state.numpy() for state in random_states(model)])
    np.testing.assert_array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    assert not np.array_equal(*made[0])
