"""The whole job on the bundled sample, from LLM answers to a served ranking (`make demo`)."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from pathlib import Path

from configs.command_line import TeachingParser, add_json_option, quiet_tensorflow, run_command, say
from configs.loading import load_scenario
from configs.scenario import Scenario

CONFIG = "configs/movielens_small.yaml"

_HELP = """\
Runs the whole job on the bundled MovieLens sample and leaves everything in out/demo:
  knowledge/   LLM answers as vectors, TFRecords        runs/      one folder per trained model
  examples/    samples as TFRecords                     export/    SavedModel versions
  report/      results.json, results.md, report.html

Steps that are finished and whose inputs are unchanged are not repeated.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo and returns its exit code."""
    parser = TeachingParser(prog="python -m examples.movielens_small.demo", description=_HELP)
    parser.add_argument("--quick", action="store_true", help="one seed instead of three")
    parser.add_argument("--config", default=CONFIG, help=f"scenario (default {CONFIG})")
    parser.add_argument(
        "--work-dir", default="out/demo", help="folder for all results (default out/demo)"
    )
    add_json_option(parser)
    parsed = parser.parse_args(arguments)
    quiet_tensorflow()
    return run_command(_run, parsed)


class Steps:
    """Runs the steps one after the other, says a line for each, and keeps their counts."""

    def __init__(self, total: int):
        """Expects `total` steps."""
        self._total = total
        self.records: list[dict[str, object]] = []

    def run(self, name: str, step: Callable[[], Mapping[str, object]]) -> Mapping[str, object]:
        """Runs one step, which returns at least records_in, records_out and dead_letters."""
        say(f"[{len(self.records) + 1}/{self._total}] {name} ...")
        started = time.perf_counter()
        result = step()
        seconds = time.perf_counter() - started
        counts = {key: result[key] for key in ("records_in", "records_out", "dead_letters")}
        self.records.append({"name": name, "seconds": round(seconds, 2), **counts})
        say(
            f"[{len(self.records)}/{self._total}] {name}: {seconds:.1f} s, "
            f"{counts['records_in']} in, {counts['records_out']} out, "
            f"{counts['dead_letters']} dead letters"
            + (" (unchanged, not repeated)" if result.get("skipped") else "")
        )
        return result


def _run(arguments: argparse.Namespace) -> Mapping[str, object]:
    overrides = [f"work_dir={arguments.work_dir}"]
    if arguments.quick:
        overrides.append("experiment.seeds=[1]")
    return run_demo(load_scenario(arguments.config, overrides), quick=arguments.quick)


def run_demo(scenario: Scenario, quick: bool = False) -> dict[str, object]:
    """Runs every step of the job and writes the report.

    Args:
      scenario: names the data, the grid of models and the work directory.
      quick: only said in the report.

    Returns:
      The contents of results.json.
    """
    from examples.movielens_small.serving_check import check_serving
    from preprocessing.interactions.build import build_examples
    from preprocessing.knowledge.encode import encode_source
    from serving.export import export_run
    from trainer.experiment import run_experiment
    from trainer.report import write_report
    from trainer.report.collecting import mean_gates, training_counts
    from trainer.report.inputs import ReportInputs

    work_dir = Path(scenario.work_dir)
    sources = scenario.knowledge.sources
    steps = Steps(total=len(sources) + 4)
    for source in sources:
        steps.run(f"encode {source} answers", lambda source=source: encode_source(scenario, source))
    examples = steps.run("build examples", lambda: build_examples(scenario))

    experiment = None

    def train_and_evaluate() -> Mapping[str, object]:
        nonlocal experiment
        experiment = run_experiment(scenario, report_progress=say)
        cells = len(experiment.runs)
        return {"records_in": cells, "records_out": cells, "dead_letters": 0}

    steps.run("train and evaluate models", train_and_evaluate)
    best = experiment.best_run("din")
    exported: dict[str, object] = {}

    def export() -> Mapping[str, object]:
        exported.update(export_run(best.folder, work_dir / "export"))
        return {"records_in": 1, "records_out": 1, "dead_letters": 0}

    steps.run(f"export {best.folder.name}", export)
    served = steps.run("serve and rank", lambda: check_serving(scenario, best, work_dir / "export"))
    results = write_report(
        work_dir / "report",
        ReportInputs(
            scenario=scenario,
            experiment=experiment,
            training_counts=training_counts(scenario),
            gates=mean_gates(experiment),
            num_shared_experts=scenario.model.hein.num_shared_experts,
            leak={key: examples[key] for key in ("leak_violations", "leak_check")},
            served_max_abs_difference=served["max_abs_difference"],
            steps=steps.records,
            command="make demo QUICK=1" if quick else "make demo",
            machine=f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, CPU only",
            made_at=date.today().isoformat(),
        ),
    )
    say((work_dir / "report" / "results.md").read_text(encoding="utf-8"))
    say(f"report: {work_dir / 'report' / 'report.html'}   export: {exported['path']}")
    return results


if __name__ == "__main__":
    sys.exit(main())
