"""Step `encode` from answers to TFRecords against its text encoder alone on the same texts.

    python -m benchmarks.encode_overhead --answers 2000

Prints a JSON line for each: the encoder alone, the step without kept vectors, the step with all
vectors kept, and the ratio of the first two.
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.measuring import Stopwatch, measured, print_measure, temporary_folder
from configs.loading import scenario_from_tree
from configs.scenario import Scenario
from preprocessing.beam_options import silence_beam_import_logs
from preprocessing.encode import encode
from preprocessing.encoders.text_encoder import encoder_class

_NAME = "encode_overhead"
_BUNDLED = "examples/movielens_small/answers/*_individual.jsonl.gz"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures all, as often as asked, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--answers", type=int, default=2000, help="how many; default: 2000")
    parser.add_argument("--files", default=_BUNDLED, help="pattern of answer files (.jsonl.gz)")
    parser.add_argument("--kind", default="minilm", choices=["minilm", "tfidf"])
    parser.add_argument("--seed", type=int, default=1, help="which answers, in which order")
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--folder", help="for the files; a temporary one if not given")
    parsed = parser.parse_args(arguments)
    silence_beam_import_logs()
    texts = _some_texts(parsed)
    with temporary_folder(parsed.folder) as folder:
        scenario = _scenario(folder, texts, parsed.kind)
        for repeat in range(parsed.repeats):
            _compare(scenario, texts, repeat, parsed)


def _some_texts(arguments: argparse.Namespace) -> list[str]:
    """Distinct texts: the answers in another order, and again with a number when there are few."""
    distinct: dict[str, None] = {}
    for path in sorted(Path().glob(arguments.files)):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            distinct |= dict.fromkeys(json.loads(line)["answer"] for line in file)
    if not distinct:
        raise SystemExit(f"no answers in {arguments.files}; run this in the root of the repository")
    texts = list(distinct)
    random.Random(arguments.seed).shuffle(texts)
    rounds = -(-arguments.answers // len(texts))
    repeated = [f"{text} ({number})" for number in range(1, rounds) for text in texts]
    return [*texts, *repeated][: arguments.answers]


def _scenario(folder: Path, texts: list[str], kind: str) -> Scenario:
    with (folder / "answers.jsonl").open("w", encoding="utf-8") as file:
        for number, text in enumerate(texts):
            record = {"source": "item", "entity_id": str(number), "extraction": "individual"}
            file.write(json.dumps({**record, "answer": text}) + "\n")
    return scenario_from_tree(
        {
            "name": "overhead",
            "work_dir": str(folder / "work"),
            "data": {
                "interactions": {"path": "none.csv"},
                "catalogue": {"path": "none.csv"},
            },
            "knowledge": {
                "sources": ["item"],
                "answers": {"item": {"entity": "item", "individual": [f"{folder}/answers.jsonl"]}},
                "encoder": {"kind": kind},
            },
        }
    )


def _compare(
    scenario: Scenario, texts: list[str], repeat: int, arguments: argparse.Namespace
) -> None:
    shutil.rmtree(scenario.work_dir, ignore_errors=True)
    described = {
        "encoder": arguments.kind,
        "answers": len(texts),
        "seed": arguments.seed,
        "repeat": repeat,
    }
    with measured() as alone:
        _encode_alone(scenario, texts)
    with measured() as cold:
        first = encode(scenario)
    with measured() as warm:
        second = encode(scenario, force=True)
    assert first["records_out"] == second["records_out"] == len(texts)
    kept = {"texts_from_cache": second["texts_from_cache"]}
    _print(described | {"program": "encoder alone"}, alone, len(texts))
    _print(described | {"program": "step, nothing kept"}, cold, len(texts))
    _print(described | {"program": "step, everything kept"} | kept, warm, len(texts))
    print_measure(
        _NAME,
        **described,
        step_to_encoder_seconds=cold.seconds / alone.seconds,
        step_to_encoder_cpu_seconds=cold.cpu_seconds / alone.cpu_seconds,
    )


def _encode_alone(scenario: Scenario, texts: list[str]) -> None:
    settings = scenario.knowledge.encoder
    chosen = encoder_class(settings.kind)
    with tempfile.TemporaryDirectory() as folder:
        chosen.prepare(settings, texts, folder)
        encoder = chosen.load(settings, folder)
        size = chosen.texts_per_element(settings)
        for start in range(0, len(texts), size):
            encoder.encode(texts[start : start + size])


def _print(described: dict[str, object], watch: Stopwatch, answers: int) -> None:
    print_measure(
        _NAME,
        **described,
        seconds=watch.seconds,
        cpu_seconds=watch.cpu_seconds,
        answers_per_second=answers / watch.seconds,
    )


if __name__ == "__main__":
    main()
