"""The whole job on the bundled sample, from LLM answers to a served ranking (`make demo`)."""

from __future__ import annotations

import argparse
import contextlib
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs.arms import sources_of_arms
from configs.command_line import (
    CommandError,
    TeachingParser,
    add_json_option,
    run_command,
    say,
    set_up_tensorflow,
)
from configs.loading import load_scenario
from configs.scenario import Scenario
from preprocessing.beam_options import silence_beam_import_logs

if TYPE_CHECKING:
    from trainer.report.inputs import PipelineStep

CONFIG = "configs/movielens_small.yaml"
WORK_DIR = "out/demo"
_WORDS = {
    "records_in": "in",
    "records_out": "out",
    "dead_letters": "dead letters",
    "history_only": "kept as history only",
    "reused": "reused",
}

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
    parser.add_argument("--quick", action="store_true", help="one seed and three epochs")
    parser.add_argument("--config", default=CONFIG, help=f"scenario (default {CONFIG})")
    parser.add_argument(
        "--work-dir", default=WORK_DIR, help=f"folder for all results (default {WORK_DIR})"
    )
    add_json_option(parser)
    parsed = parser.parse_args(arguments)
    silence_beam_import_logs()
    set_up_tensorflow()
    return run_command(_run, parsed)


class StepRecord:
    """Counts of one running step."""

    def __init__(self) -> None:
        """Starts with nothing counted."""
        self.counts: dict[str, int] = {}
        self.skipped = False

    def __call__(self, result: Mapping[str, Any]) -> None:
        """Takes the counts of a preprocessing step's result."""
        names = ("records_in", "records_out", "dead_letters", "history_only")
        self.counts = {name: int(result[name]) for name in names if name in result}
        self.skipped = bool(result["skipped"])

    def same_number(self, count: int) -> None:
        """Says that as many records came out as went in."""
        self.counts = {"records_in": count, "records_out": count, "dead_letters": 0}

    def reused(self, count: int) -> None:
        """Says how many of the records that came out were there already."""
        self.counts["reused"] = count


class Steps:
    """Runs the steps one after the other, says a line for each, and keeps their counts.

    Attributes:
      records: name, seconds and counts of the finished steps.
    """

    def __init__(self, total: int):
        """Expects `total` steps."""
        self._total = total
        self.records: list[PipelineStep] = []

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[StepRecord]:
        """Times what runs inside the `with` statement, which hands its counts to the record."""
        heading = f"[{len(self.records) + 1}/{self._total}] {name}"
        say(f"{heading} ...")
        started = time.perf_counter()
        record = StepRecord()
        yield record
        seconds = time.perf_counter() - started
        finished: PipelineStep = {
            "name": name,
            "seconds": round(seconds, 2),
            **record.counts,  # type: ignore[typeddict-item]
            "skipped": record.skipped,
        }
        self.records.append(finished)
        counts = ", ".join(f"{count} {_WORDS[kind]}" for kind, count in record.counts.items())
        unchanged = " (unchanged, not repeated)" if record.skipped else ""
        say(f"{heading}: {seconds:.1f} s; {counts}{unchanged}")


def _run(arguments: argparse.Namespace) -> Mapping[str, object]:
    overrides = [f"work_dir={arguments.work_dir}", "training.tensorboard=true"]
    if arguments.quick:
        overrides += ["experiment.seeds=[1]", "training.epochs=3"]
    command = command_text(arguments.config, arguments.work_dir, arguments.quick)
    return run_demo(load_scenario(arguments.config, overrides), command)


def command_text(config: str, work_dir: str, quick: bool) -> str:
    """The command that makes the same report again, from the root of the repository."""
    if (Path(config), Path(work_dir)) == (Path(CONFIG), Path(WORK_DIR)):
        return "make demo QUICK=1" if quick else "make demo"
    words = ["python", "-m", "examples.movielens_small.demo"]
    words += ["--config", config, "--work-dir", work_dir]
    return shlex.join([*words, "--quick"] if quick else words)


def run_demo(scenario: Scenario, command: str) -> dict[str, object]:
    """Runs every step of the job and writes the report.

    Args:
      scenario: names the data, the grid of models and the work directory.
      command: the command that does the same again, only said in the report.

    Returns:
      The contents of results.json.
    """
    from examples.movielens_small.serving_check import check_serving
    from preprocessing.encode import encode
    from preprocessing.examples import build_examples
    from serving.export import export_run
    from trainer.experiments.results import failures_text
    from trainer.experiments.running import run_experiment
    from trainer.report.render import write_experiment_report

    work_dir = Path(scenario.work_dir)
    sources = sources_of_arms(scenario)
    steps = Steps(total=len(sources) + 4)
    for source in sources:
        with steps.step(f"encode {source} answers") as record:
            record(encode(scenario, sources=[source]))
    with steps.step("build examples") as record:
        record(build_examples(scenario))
    with steps.step("train and evaluate models") as record:
        experiment = run_experiment(scenario, work_dir)
        if experiment.failures:
            raise CommandError(failures_text(experiment.failures))
        record.same_number(len(experiment.runs))
        record.reused(sum(run.reused for run in experiment.runs))
    best = experiment.best_run(scenario.experiment.backbones[0])
    with steps.step(f"export {best.folder.name}") as record:
        exported = export_run(best.folder, work_dir / "export")
        record.same_number(1)
    with steps.step("serve and rank") as record:
        served = check_serving(scenario, best, work_dir / "export")
        record.same_number(served.scores_compared)
    results = write_experiment_report(
        work_dir / "report",
        scenario,
        experiment,
        command,
        steps.records,
        served.largest_difference,
    )
    say((work_dir / "report" / "results.md").read_text(encoding="utf-8"))
    say(f"report: {work_dir / 'report' / 'report.html'}   export: {exported['path']}")
    say(f"curves and settings: tensorboard --logdir {work_dir / 'runs'}")
    return results


if __name__ == "__main__":
    sys.exit(main())
