from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import example, given, settings
from hypothesis import strategies as st

from configs.loading import ConfigurationError
from configs.scenario import Scenario
from models.building import build_model
from preprocessing.records.contract import DamagedRecords
from preprocessing.records.tfrecord_file import write_records
from tests.runs import shared_store
from tests.scenarios import rich_scenario
from trainer.examples import ExampleReader, PreparedExamples
from trainer.training_input import MemoryInput, StreamInput, TrainingInput, Worker

Batch = tuple[dict[str, np.ndarray], np.ndarray]
Make = Callable[..., TrainingInput]


class NumberReader:
    """Reads records that are numbers."""

    def batch(self, serialized: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        rows = tf.strings.to_number(serialized, tf.int32)
        return {"row": rows, "pair": tf.stack([rows, -rows], axis=1)}, 2.0 * tf.cast(rows, "float")


def numbered_files(folder: Path, count: int, files: int = 3) -> list[Path]:
    """The numbers below the count in files of unequal size."""
    bounds = np.linspace(0, count**2, files + 1) ** 0.5
    paths = []
    for index, (first, last) in enumerate(zip(bounds[:-1], bounds[1:], strict=True)):
        path = folder / f"part-{index}"
        write_records(path, [str(row).encode() for row in range(round(first), round(last))])
        paths.append(path)
    return paths


def numbered_examples(count: int) -> PreparedExamples:
    rows = np.arange(count)
    ids = rows.astype(str)
    return PreparedExamples(
        {"row": rows.astype(np.int32), "pair": np.stack([rows, -rows], axis=1)},
        rows.astype(np.float32) * 2,
        ids,
        ids,
    )


def maker(kind: str, folder: Path) -> Make:
    """Makes an input of so many numbered examples, in memory or in three files."""

    def in_memory(count: int, batch_size: int, seed: int = 1, worker: Worker | None = None):
        return MemoryInput(numbered_examples(count), batch_size, seed, worker)

    def in_files(count: int, batch_size: int, seed: int = 1, worker: Worker | None = None):
        files = numbered_files(folder, count)
        return StreamInput(NumberReader(), files, batch_size, seed, 100, count, worker)

    return in_memory if kind == "memory" else in_files


def batches_of(examples: TrainingInput, epoch: int, first_step: int = 0) -> list[Batch]:
    return list(examples.epoch(epoch, first_step).as_numpy_iterator())


def rows_of(batches: Sequence[Batch]) -> list[list[int]]:
    """Rows by batch; features and labels must belong together."""
    for features, labels in batches:
        rows = features["row"]
        np.testing.assert_array_equal(labels, 2 * rows)
        np.testing.assert_array_equal(features["pair"], np.stack([rows, -rows], axis=1))
    return [features["row"].tolist() for features, _ in batches]


@given(
    count=st.integers(1, 40),
    batch_size=st.integers(1, 12),
    workers=st.integers(1, 3),
    per_worker=st.integers(1, 2),
    epoch=st.integers(0, 3),
    data=st.data(),
)
@example(count=54, batch_size=12, workers=3, per_worker=1, epoch=1, data=None)
@example(count=22, batch_size=4, workers=1, per_worker=2, epoch=0, data=None)
@settings(max_examples=3)  # each builds several input pipelines
@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_an_epoch_is_every_row_once_in_batches_that_workers_share(
    kind: str,
    tmp_path_factory: pytest.TempPathFactory,
    count: int,
    batch_size: int,
    workers: int,
    per_worker: int,
    epoch: int,
    data: st.DataObject | None,
) -> None:
    batch_size *= workers
    replicas = workers * per_worker
    make = maker(kind, tmp_path_factory.mktemp("numbers"))
    all_batches = make(count, batch_size, worker=Worker(replicas=replicas))
    whole = rows_of(batches_of(all_batches, epoch))
    flat = sum(whole, [])
    assert all_batches.num_examples == count and all_batches.steps == len(whole)
    assert len(set(flat)) == len(flat) and set(flat) <= set(range(count))
    # A last batch with fewer rows than devices is left out.
    left_out = count - len(flat)
    assert left_out == (count % batch_size if count % batch_size < replicas else 0)
    sizes = [len(batch) for batch in whole]
    assert sizes[:-1] == [batch_size] * (len(whole) - 1) and sizes[-1:] <= [batch_size]
    shares = []
    for index in range(workers):
        own = make(count, batch_size, worker=Worker(index, workers, replicas))
        assert (own.num_examples, own.steps) == (count, len(whole))
        shares.append(rows_of(batches_of(own, epoch)))
    first_step = data.draw(st.integers(0, len(whole))) if data else len(whole)
    assert rows_of(batches_of(own, epoch, first_step)) == shares[-1][first_step:]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert sorted(sum(parts, [])) == sorted(batch)
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("kind", ["memory", "stream"])
def test_the_order_follows_from_seed_and_epoch_alone(kind: str, tmp_path: Path) -> None:
    make = maker(kind, tmp_path)
    orders = {}
    for seed in (1, 2):
        examples = make(60, 7, seed)
        for epoch in (2, 0, 1):
            orders[seed, epoch] = rows_of(batches_of(examples, epoch))
    assert len({str(order) for order in orders.values()}) == 6
    flat = [sum(order, []) for order in orders.values()]
    assert all(order != sorted(order) for order in flat)
    # Another process draws from other global seeds and asks for other epochs before.
    tf.keras.utils.set_random_seed(99)
    again = make(60, 7, 2)
    assert rows_of(batches_of(again, 1)) == orders[2, 1]
    assert rows_of(batches_of(again, 1)) == orders[2, 1]


def with_own_files(files: Sequence[Path], index: int, count: int) -> StreamInput:
    worker = Worker(index, count, replicas=count)
    return StreamInput(NumberReader(), files, 10, 1, 15, worker=worker, own_files=True)


def test_workers_with_files_of_their_own_read_no_others(tmp_path: Path) -> None:
    files = numbered_files(tmp_path, 120, files=6)
    number_of = {
        row: number
        for number, path in enumerate(files)
        for row in map(int, tf.data.TFRecordDataset(str(path), "GZIP").as_numpy_iterator())
    }
    workers = [with_own_files(files, index, 3) for index in range(3)]
    dealt = []
    for epoch in range(2):
        read = []
        for index, examples in enumerate(workers):
            rows = rows_of(batches_of(examples, epoch))
            assert examples.steps == len(rows) == 12
            assert {len(batch) for batch in rows} == {4 if index == 0 else 3}
            flat = sum(rows, [])
            assert flat != sorted(flat)
            read.append({number_of[row] for row in flat})
            # A worker begins again only after the last of its rows.
            own = sum(number in read[-1] for number in number_of.values())
            assert len(set(flat)) == min(own, len(flat))
            for first_step in (1, 12):
                assert rows_of(batches_of(examples, epoch, first_step)) == rows[first_step:]
        assert sum(map(len, read)) == len(set.union(*read)) > 3
        dealt.append(read)
    assert dealt[0] != dealt[1]


def test_too_few_files_cannot_be_dealt(tmp_path: Path) -> None:
    files = numbered_files(tmp_path, 30, files=2)
    with pytest.raises(ConfigurationError, match="training.sharding=files: 2 files .* 3 workers"):
        with_own_files(files, 0, 3)


def streamed(files: Sequence[Path], buffer: int, seed: int = 1) -> list[int]:
    examples = StreamInput(NumberReader(), files, 10, seed, buffer)
    return sum(rows_of(batches_of(examples, 0)), [])


def test_a_buffer_smaller_than_the_data_mixes_what_is_near(tmp_path: Path) -> None:
    files = numbered_files(tmp_path, 120, files=1)
    order = streamed(files, buffer=20)
    assert sorted(order) == list(range(120)) and order != sorted(order)
    for start in range(0, 120, 20):
        near = order[start : start + 20]
        assert sorted(near) == list(range(start, start + 20)) and near != sorted(near)
    # A buffer for all mixes all: the first twenty come from everywhere.
    assert max(streamed(files, buffer=200)[:20]) > 80


def test_files_are_opened_in_another_order_every_time(tmp_path: Path) -> None:
    files = numbered_files(tmp_path, 90, files=9)
    firsts = {streamed(files, buffer=1, seed=seed)[0] for seed in range(8)}
    assert len(firsts) > 2


def test_examples_are_counted_where_nobody_knows_their_number(tmp_path: Path) -> None:
    files = numbered_files(tmp_path, 31)
    examples = StreamInput(NumberReader(), files, 10, 1, 100)
    assert (examples.num_examples, examples.steps) == (31, 4)


@pytest.mark.parametrize("damage", ["cut off", "missing"])
def test_a_damaged_file_is_named_before_training(tmp_path: Path, damage: str) -> None:
    files = numbered_files(tmp_path, 500)
    if damage == "missing":
        files[1].unlink()
    else:
        files[1].write_bytes(files[1].read_bytes()[:-9])
    with pytest.raises(DamagedRecords, match=r"part-1.* --force"):
        StreamInput(NumberReader(), files, 10, 1, 100, 500)


class NamingReader(ExampleReader):
    """Leaves user and item among the features, so that rows can be told apart."""

    def batch(self, serialized: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
        features, labels = super().batch(serialized)
        assert not {"user_id", "item_id"} & features.keys()
        columns = self.prepared(serialized)
        return {**features, "user": columns["user_id"], "item": columns["item_id"]}, labels


KINDS: dict[str, dict[str, object]] = {
    "ctr": {"model__match": "ridge"},
    "ctr with tasks": {"model__tasks": {"loved": 0.5}},
    "rerank": {"model__backbone": "prm"},
    "retrieval": {"model__backbone": "two_tower"},
}


@pytest.mark.parametrize("name", KINDS)
def test_streamed_rows_are_the_prepared_ones(name: str) -> None:
    scenario = rich_scenario(**KINDS[name])
    model = build_model(scenario, shared_store().tables(scenario))
    prepared = shared_store().examples(scenario, model, "train")
    reader = NamingReader(scenario, model.inputs_preparation, "train", model.kind)
    examples = StreamInput(reader, reader.shards(), 64, 1, 300, len(prepared))
    row_of = {
        (user, str(items)): row
        for row, (user, items) in enumerate(
            zip(prepared.user_ids, prepared.item_ids.tolist(), strict=True)
        )
    }
    assert len(row_of) == len(prepared)
    seen = []
    for features, labels in batches_of(examples, 0):
        users, items = features.pop("user").astype(str), features.pop("item").astype(str)
        rows = [row_of[key] for key in zip(users, map(str, items.tolist()), strict=True)]
        assert features.keys() == prepared.features.keys()
        for feature, values in features.items():
            expected = prepared.features[feature][rows]
            if values.shape != expected.shape:
                # A batch is as wide as its longest list; histories are padded in front.
                width = values.shape[1]
                is_history = feature.startswith("history_")
                padding = expected[:, :-width] if is_history else expected[:, width:]
                assert not padding.any()
                expected = expected[:, -width:] if is_history else expected[:, :width]
            np.testing.assert_allclose(values, expected, atol=1e-5, err_msg=feature)
            assert values.dtype == prepared.features[feature].dtype
        np.testing.assert_array_equal(labels, prepared.labels[rows])
        assert labels.dtype == np.float32
        seen += rows
    assert sorted(seen) == list(range(len(prepared)))


def batch_signature(examples: TrainingInput) -> dict[str, Any]:
    features, labels = examples.epoch(0).element_spec
    return {
        name: (spec.dtype, spec.shape.rank) for name, spec in {**features, "label": labels}.items()
    }


@pytest.mark.parametrize("name", KINDS)
def test_both_inputs_have_batches_of_one_form(name: str) -> None:
    scenario: Scenario = rich_scenario(**KINDS[name])
    model = build_model(scenario, shared_store().tables(scenario))
    prepared = shared_store().examples(scenario, model, "train")
    reader = ExampleReader(scenario, model.inputs_preparation, "train", model.kind)
    stream = StreamInput(reader, reader.shards(), 64, 1, 300, len(prepared))
    assert batch_signature(stream) == batch_signature(MemoryInput(prepared, 64, 1))
