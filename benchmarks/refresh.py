"""What a refresh of a large model costs: seconds, memory and size, with the vectors given.

    python -m benchmarks.refresh --items 1000000 --changed 0.01

Exports a DIN with HEIN, ridge match and prior over made-up knowledge of that many items, one answer
each, then refreshes it with vectors for that share of them, 95 % about known items and 5 % about
new ones, by `python -m serving refresh --vectors` in a process of its own. Encoding is so left out;
see docs/encoders.md for what it costs. Prints a JSON line for the export and one for the refresh.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from benchmarks.measuring import (
    measured,
    peak_megabytes,
    print_measure,
    run_measured,
    temporary_folder,
)
from configs.command_line import set_up_tensorflow

_NEW_SHARE = 0.05
"""Part of the changed answers that are about new items."""


def main(words: list[str] | None = None) -> None:
    """Exports and refreshes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=1_000_000)
    parser.add_argument("--changed", type=float, default=0.01, help="share of the items")
    parser.add_argument("--dimension", type=int, default=384, help="of the knowledge vectors")
    parser.add_argument("--augmented-dtype", default="float32")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", help="for the export; a temporary one if not given")
    arguments = parser.parse_args(words)
    with temporary_folder(arguments.folder) as folder:
        base = folder / "export"
        # A child's peak memory is at least what its parent held when it began.
        export = multiprocessing.get_context("spawn").Process(
            target=_export, args=(base, arguments)
        )
        export.start()
        export.join()
        if export.exitcode:
            sys.exit(f"the export failed (exit code {export.exitcode})")
        vectors = _write_vectors(folder / "new.parquet", arguments)
        used = run_measured(
            [
                *(sys.executable, "-m", "serving", "refresh", "--json"),
                *("--model", str(base), "--source", "item", "--vectors", str(vectors)),
            ]
        )
        result = json.loads(used.output)
        print_measure(
            "refresh",
            items=arguments.items,
            answers=result["answers"]["accepted"],
            changed_rows=result["changed_rows"],
            new_items=result["new_items"],
            augmented_dtype=arguments.augmented_dtype,
            seconds=used.seconds,
            cpu_seconds=used.cpu_seconds,
            write_seconds=result["seconds"]["write"],
            peak_megabytes=used.peak_megabytes,
            version_megabytes=_megabytes(Path(result["path"])),
            refresh_parts_megabytes=_megabytes(Path(result["path"]) / "assets.extra" / "refresh"),
        )


def _export(base: Path, arguments: argparse.Namespace) -> None:
    set_up_tensorflow()
    import tensorflow as tf

    from benchmarks.model_workload import RandomKnowledge, synthetic_scenario
    from configs.scenario import Scenario
    from models.building import ModelTables, build_model
    from models.catalogue import CatalogueContents
    from serving.export import serving_module
    from serving.refresh.parts import RefreshParts
    from trainer.run_folder import create_weights

    random = np.random.default_rng(arguments.seed)
    items = [str(number) for number in range(arguments.items)]
    counts = random.integers(1, 300, size=[arguments.items, 10]).astype(np.float64)
    vectors = random.normal(size=[arguments.items, arguments.dimension]).astype(np.float32)
    catalogue = CatalogueContents(items, items, {}, {}, counts * 3.5, counts)
    knowledge = {"item": RandomKnowledge(items, vectors)}
    tree = synthetic_scenario(match="ridge", prior=True).model_dump(mode="json")
    tree["knowledge"] |= {
        "sources": ["item"],
        "answers": {"item": {"entity": "item", "vectors": ["-.parquet"]}},
    }
    scenario = Scenario.model_validate(tree)
    model = build_model(scenario, ModelTables(catalogue, knowledge))
    create_weights(model)
    with measured() as parts_watch:
        parts = RefreshParts.of(model, scenario, knowledge=knowledge)
    module = serving_module(model, arguments.augmented_dtype)
    signatures = {"rank": module.signatures()["rank"]}
    tf.saved_model.save(module, str(base / "1"), signatures=signatures)
    before = _megabytes(base / "1")
    with measured() as write_watch:
        parts.write(base / "1")
    print_measure(
        "refresh_parts_of_export",
        items=arguments.items,
        dimension=arguments.dimension,
        seconds=parts_watch.seconds + write_watch.seconds,
        version_megabytes=before,
        refresh_parts_megabytes=_megabytes(base / "1") - before,
        peak_megabytes=peak_megabytes(),
    )


def _write_vectors(path: Path, arguments: argparse.Namespace) -> Path:
    random = np.random.default_rng(arguments.seed + 1)
    number = round(arguments.items * arguments.changed)
    new = round(number * _NEW_SHARE)
    old = random.choice(arguments.items, number - new, replace=False)
    ids = [*old.astype(str), *(f"new_{index}" for index in range(new))]
    vectors = random.normal(size=[number, arguments.dimension]).astype(np.float32)
    parquet.write_table(pa.table({"entity_id": ids, "vector": list(vectors)}), path)
    return path


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
