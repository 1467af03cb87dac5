"""Time and memory of an evaluation, by the number of samples: made-up scores with two slices.

    python -m benchmarks.evaluation_memory --rows 1000000 10000000 100000000

Prints a JSON line for each number of samples, each measured in a process of its own. Scores are
written to Parquet batch by batch, as `python -m trainer evaluate` does, and evaluated from there;
samples of a user are scattered over the file. `peak_megabytes` is all that the process ever held;
what the libraries alone take is shown by a line with few rows.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from benchmarks.measuring import measured, peak_megabytes, print_measure, temporary_folder
from configs.experiment import Evaluation
from preprocessing.records.contract import CTR, ITEM_ID
from trainer.evaluation.part_metrics import part_metrics
from trainer.evaluation.score_table import ScoreTable, write_scores
from trainer.evaluation.slices import KeySlice, NumberSlice, Slice

_NAME = "evaluation_memory"
_BATCH = 4096
_ROWS_PER_USER = 160
_ITEMS = 20_000
_GENRES = 20


def main(words: list[str] | None = None) -> None:
    """Measures every number of samples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--memory-megabytes", type=int, help="evaluation.memory_megabytes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="for the files; a temporary one if not given")
    arguments = parser.parse_args(words)
    if len(arguments.rows) == 1:
        _measure(arguments.rows[0], arguments)
        return
    for rows in arguments.rows:
        further = ["--seed", str(arguments.seed)]
        if arguments.memory_megabytes:
            further += ["--memory-megabytes", str(arguments.memory_megabytes)]
        if arguments.folder:
            further += ["--folder", arguments.folder]
        subprocess.run(
            [sys.executable, "-m", f"benchmarks.{_NAME}", "--rows", str(rows), *further], check=True
        )


def _measure(rows: int, arguments: argparse.Namespace) -> None:
    options = Evaluation()
    if arguments.memory_megabytes:
        options = Evaluation(memory_megabytes=arguments.memory_megabytes)
    with temporary_folder(arguments.folder) as folder:
        path = folder / "scores.parquet"
        with measured() as writing:
            write_scores(path, synthetic_scores(rows, arguments.seed))
        after_writing = peak_megabytes()
        with (
            measured() as evaluating,
            ScoreTable(path, options.memory_megabytes, options.threads, folder) as table,
        ):
            metrics = part_metrics(table, CTR, options, _slices(table))
        print_measure(
            _NAME,
            rows=rows,
            seed=arguments.seed,
            groups=sum(len(groups) for groups in metrics.slices.values()),
            memory_limit_megabytes=options.memory_megabytes,
            file_megabytes=path.stat().st_size / 1e6,
            write_seconds=writing.seconds,
            evaluate_seconds=evaluating.seconds,
            evaluate_cpu_seconds=evaluating.cpu_seconds,
            peak_megabytes_after_writing=after_writing,
            peak_megabytes=peak_megabytes(),
            auc=metrics.metrics["auc"],
            gauc=metrics.metrics["gauc"],
        )


def synthetic_scores(rows: int, seed: int) -> Iterator[pa.Table]:
    """Scores that know something, of random users and of items of very different popularity."""
    random = np.random.default_rng(seed)
    users = max(1, rows // _ROWS_PER_USER)
    for start in range(0, rows, _BATCH):
        count = min(_BATCH, rows - start)
        labels = (random.random(count) < 0.3).astype(np.float32)
        logits = random.normal(size=count) + labels - 1
        yield pa.table(
            {
                "user_id": np.char.add("u", random.integers(0, users, count).astype(str)),
                "item_id": (_ITEMS * random.random(count) ** 2).astype(int).astype(str),
                "label": labels,
                "score": (1 / (1 + np.exp(-logits))).astype(np.float32),
                "position": random.integers(0, 200, count),
            }
        )


def _slices(table: ScoreTable) -> list[Slice]:
    """One by a number, and one by items of which every third belongs to two groups."""
    items, _ = table.counts(ITEM_ID)
    table.add_key("item_key", ITEM_ID, items)
    genres = [
        [item % _GENRES] if item % 3 else [item % _GENRES, (item + 1) % _GENRES]
        for item in map(int, items.to_pylist())
    ]
    return [
        NumberSlice("activity", ["0-9", "10-49", "50+"], "position", [10, 50]),
        KeySlice("genre", [f"genre {n}" for n in range(_GENRES)], "item_key", [*genres, []]),
    ]


if __name__ == "__main__":
    main()
