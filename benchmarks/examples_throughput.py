"""Step `examples` (Beam) against a plain single-process pandas program that does the same.

    python -m benchmarks.examples_throughput --interactions 1000000

Prints a JSON line for each program and one with the ratios of their times. Both write the same
records, which is checked by a digest: the exit code is 1 where they do not.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import sys
from pathlib import Path

from benchmarks import plain_pandas
from benchmarks.measuring import measured, print_measure, temporary_folder
from configs.loading import scenario_from_tree
from configs.scenario import Scenario
from examples.synthetic import SyntheticLog, data_section
from preprocessing.beam_options import BeamOptions, silence_beam_import_logs
from preprocessing.examples import build_examples
from preprocessing.records.contract import PARTS
from preprocessing.records.layout import ExamplesDirectory, WorkDirectory
from preprocessing.records.tfrecord_file import read_records

_NAME = "examples_throughput"


def main(words: list[str] | None = None) -> None:
    """Runs both programs, as often as asked, one after the other."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, help="default: one for 160 interactions")
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--history-length", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=1, help="runs of each, in turn")
    parser.add_argument("--runner", help="Beam runner (default: the one of the step)")
    parser.add_argument("--beam-option", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--folder", help="for the files; a temporary one if not given")
    arguments = parser.parse_args(words)
    silence_beam_import_logs()
    with temporary_folder(arguments.folder) as folder:
        scenario = _scenario(folder, arguments)
        beam = BeamOptions(arguments.runner, tuple(arguments.beam_option))
        for _ in range(arguments.repeats):
            _compare(scenario, beam, folder, arguments)


def _scenario(folder: Path, arguments: argparse.Namespace) -> Scenario:
    users = arguments.users or max(1, arguments.interactions // 160)
    log = SyntheticLog(arguments.interactions, users, arguments.items, arguments.seed)
    log.write_interactions(folder / "interactions.csv")
    log.write_catalogue(folder / "catalogue.csv")
    # Samples begin behind what prompts may show only where there are answers about users.
    answers = folder / "answers.jsonl"
    answers.touch()
    return scenario_from_tree(
        {
            "name": "synthetic",
            "work_dir": str(folder / "work"),
            "data": data_section(folder, arguments.history_length),
            "knowledge": {
                "sources": [],
                "answers": {"user": {"entity": "user", "individual": [str(answers)]}},
            },
        }
    )


def _compare(
    scenario: Scenario, beam: BeamOptions, folder: Path, arguments: argparse.Namespace
) -> None:
    shutil.rmtree(scenario.work_dir, ignore_errors=True)
    with measured() as with_beam:
        result = build_examples(scenario, beam=beam)
    plain_folder = folder / "plain"
    shutil.rmtree(plain_folder, ignore_errors=True)
    plain_folder.mkdir()
    with measured() as plain:
        samples = plain_pandas.write_examples(scenario.data, scenario.split, plain_folder)
    described = {"interactions": arguments.interactions, "seed": arguments.seed}
    for program, watch, written in (
        ("beam", with_beam, result["samples"]),
        ("pandas", plain, samples),
    ):
        print_measure(
            _NAME,
            program=program,
            **described,
            samples=written,
            seconds=watch.seconds,
            cpu_seconds=watch.cpu_seconds,
            samples_per_second=written / watch.seconds,
        )
    digests = [
        _digest(ExamplesDirectory(folder))
        for folder in (WorkDirectory(scenario.work_dir).examples.path, plain_folder)
    ]
    print_measure(
        _NAME,
        **described,
        beam_to_pandas_seconds=with_beam.seconds / plain.seconds,
        beam_to_pandas_cpu_seconds=with_beam.cpu_seconds / plain.cpu_seconds,
    )
    if digests[0] != digests[1]:
        sys.exit("the two programs wrote different records")


def _digest(directory: ExamplesDirectory) -> dict[str, str]:
    """For each part, a digest of its records in any order."""
    digests = {}
    for part in PARTS:
        total = 0
        for path in directory.shards(part):
            for record in read_records(path):
                total += int.from_bytes(hashlib.sha256(record).digest())
        digests[part] = f"{total % (1 << 256):x}"
    return digests


if __name__ == "__main__":
    main()
