"""Cost of a training step by the optimizer of the embedding tables and by their size.

    python -m benchmarks.optimizers                       10,000, 100,000 and 1,000,000 items
    python -m benchmarks.optimizers --rows 1000000 --optimizers lazy_adam --batch-size 4096

DIN without knowledge over made-up items; batches are ready tensors in memory, and a step is
forward, backward and update. All other variables are trained by Adam, as by default. One JSON line
per table size and optimizer, and a table at the end. The optimizers of a size take turns; a ratio
is the median over rounds of the processor time with Adam for the tables to that with the optimizer,
in the same round: how many times as fast it is.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
from collections.abc import Mapping, Sequence

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import tensorflow as tf

from benchmarks.measuring import Stopwatch, measured, print_measure
from benchmarks.model_workload import synthetic_scenario
from configs.training import Training
from models.building import AnyModel, ModelTables, build_model
from models.catalogue import CatalogueContents
from trainer.optimizers import build_optimizer

_BASELINE = "adam"
_BATCHES = 8


def main() -> None:
    """Measures all sizes and optimizers."""
    arguments = _parser().parse_args()
    table = {}
    for rows in arguments.rows:
        steps = {
            optimizer: _Step(rows, optimizer, arguments)
            for optimizer in dict.fromkeys([_BASELINE, *arguments.optimizers])
        }
        table[rows] = _report(rows, _measure(steps, arguments.rounds), arguments)
        tf.keras.backend.clear_session()
    print(_table(table), file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument(
        "--optimizers",
        nargs="+",
        choices=["lazy_adam", "adagrad", "sgd"],
        default=["lazy_adam", "adagrad"],
    )
    parser.add_argument("--batch-size", type=int, default=1024)
    parser.add_argument("--history", type=int, default=30)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of eight steps an optimizer")
    parser.add_argument("--seed", type=int, default=1)
    return parser


class _Step:
    """Trains a fresh model on ready batches, over and over."""

    def __init__(self, rows: int, optimizer: str, arguments: argparse.Namespace):
        tf.keras.utils.set_random_seed(arguments.seed)
        model = build_model(synthetic_scenario(adapter="none"), _tables(rows))
        self._batches = _batches(model, rows, arguments)
        model(self._batches[0][0])
        training = Training.model_validate(
            {} if optimizer == _BASELINE else {"embedding_optimizer": optimizer}
        )
        model.compile(optimizer=build_optimizer(training, model, total_steps=1))
        self._train = tf.function(model.train_step)
        self()

    def __call__(self) -> None:
        """Makes one step on each batch."""
        for batch in self._batches:
            self._train(batch)


def _tables(rows: int) -> ModelTables:
    """Items without attributes, all of them rated."""
    items = [f"i{number}" for number in range(rows)]
    counts = np.ones([rows, 1])
    catalogue = CatalogueContents(
        item_ids=items,
        trained_item_ids=items,
        categorical={},
        numeric={},
        rating_sum_by_fold=counts * 3.5,
        rating_count_by_fold=counts,
    )
    return ModelTables(catalogue, {})


def _batches(
    model: AnyModel, rows: int, arguments: argparse.Namespace
) -> list[tuple[dict[str, tf.Tensor], tf.Tensor]]:
    """Prepared features and labels; items are drawn by a popularity that falls as in real logs."""
    random = np.random.default_rng(arguments.seed)
    popularity = 1 / np.sqrt(np.arange(1, rows + 1))
    popularity /= popularity.sum()
    size, history = arguments.batch_size, [arguments.batch_size, arguments.history]

    def drawn(shape: Sequence[int]) -> tf.Tensor:
        return tf.constant(1 + random.choice(rows, shape, p=popularity), tf.int32)

    return [
        (
            {
                "item_row": drawn([size]),
                "history_row": drawn(history),
                "history_rating": tf.constant(random.integers(1, 6, history), tf.float32),
                "history_mask": tf.ones(history, tf.bool),
                "numeric": tf.constant(
                    random.normal(size=[size, model.inputs_preparation.num_numeric]), tf.float32
                ),
                "match": tf.zeros([size, 0]),
            },
            tf.constant(random.integers(0, 2, size), tf.float32),
        )
        for _ in range(_BATCHES)
    ]


def _measure(steps: Mapping[str, _Step], rounds: int) -> dict[str, list[Stopwatch]]:
    """What every optimizer took in every round."""
    watches: dict[str, list[Stopwatch]] = {optimizer: [] for optimizer in steps}
    for _ in range(rounds):
        for optimizer, step in steps.items():
            with measured() as watch:
                step()
            watches[optimizer].append(watch)
    return watches


def _report(
    rows: int, watches: Mapping[str, Sequence[Stopwatch]], arguments: argparse.Namespace
) -> dict[str, tuple[float, float]]:
    """Prints the measures of a size; optimizer -> processor milliseconds a step, and ratio."""
    results = {}
    for optimizer, own in watches.items():
        processor = 1000 / _BATCHES * statistics.median(watch.cpu_seconds for watch in own)
        ratio = statistics.median(
            base.cpu_seconds / watch.cpu_seconds
            for base, watch in zip(watches[_BASELINE], own, strict=True)
        )
        results[optimizer] = processor, ratio
        print_measure(
            "optimizers",
            rows=rows,
            optimizer=optimizer,
            cpu_milliseconds=processor,
            milliseconds=1000 / _BATCHES * statistics.median(watch.seconds for watch in own),
            ratio=ratio,
            batch_size=arguments.batch_size,
            history=arguments.history,
            rounds=arguments.rounds,
            seed=arguments.seed,
        )
    return results


def _table(results: Mapping[int, Mapping[str, tuple[float, float]]]) -> str:
    others = [name for name in next(iter(results.values())) if name != _BASELINE]
    lines = [
        f"| rows | {_BASELINE}, CPU ms a step | {' | '.join(others)} |",
        f"| ---: |{' ---: |' * (1 + len(others))}",
    ]
    for rows, size_results in results.items():
        cells = [f"{size_results[name][0]:.0f} ({size_results[name][1]:.1f}x)" for name in others]
        lines.append(f"| {rows:,} | {size_results[_BASELINE][0]:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
