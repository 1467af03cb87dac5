"""What each number format of an export costs: scores, AUC and size, of trained runs.

    python -m benchmarks.augmented_dtypes out/demo/runs/*

Every run is exported in every number format into a temporary folder and asked about validation
examples (`serving.proof`). One JSON line for each, and the bounds that a proof allows.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from benchmarks.measuring import measured, print_measure
from configs.command_line import set_up_tensorflow
from configs.serving import NumberFormat

_BENCHMARK = "augmented_dtypes"
_SAMPLES = 2_000


def measure(run: Path, samples: int) -> None:
    """Exports a run in every number format and prints what each costs."""
    from serving.export import export_run
    from serving.options import ExportOptions
    from serving.proof.proving import prove
    from serving.proof.samples import draw_samples, expected_scores
    from trainer.run_folder import RunFolder

    scenario, model = RunFolder(run).load_model()
    drawn = draw_samples(scenario, model, samples)
    expected = expected_scores(model, drawn)
    for number_format in get_args(NumberFormat):
        with tempfile.TemporaryDirectory(prefix=_BENCHMARK) as base:
            with measured() as watch:
                result = export_run(
                    run,
                    base,
                    ExportOptions(augmented_dtype=number_format, proof="none", card_part="none"),
                )
            version = Path(result["path"])
            proof = prove(version, drawn, expected, number_format, "quick")
            assert proof.quality is not None
            print_measure(
                _BENCHMARK,
                run=run.name,
                number_format=number_format,
                samples=proof.examples,
                largest_score_difference=proof.largest_difference,
                allowed=proof.bound,
                metric=proof.quality.metric,
                checkpoint=proof.quality.checkpoint,
                cost=proof.quality.cost,
                validation_rows=proof.quality.rows,
                megabytes=_megabytes(version),
                export_seconds=watch.seconds,
            )


def _megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures the runs that are named."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    parser.add_argument("--samples", type=int, default=_SAMPLES, help="validation examples asked")
    parsed = parser.parse_args(arguments)
    set_up_tensorflow()
    for run in parsed.runs:
        measure(run, parsed.samples)


if __name__ == "__main__":
    main()
