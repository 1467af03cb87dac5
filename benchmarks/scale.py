"""Every command of the way from a log to a refreshed export, by the size of the log.

    python -m benchmarks.scale --rows 100000 1000000 10000000 --plot docs/images/scale.svg
    python -m benchmarks.scale --rows 100000000 --steps generate examples input

Logs are made up (examples/synthetic.py), with a user and an item for each hundred rows, and so
are the answers. Each step is a command in a process of its own. A JSON line for each says its wall
time, its processor time (user and system, of all its processes), its peak memory and what it
wrote. What is in FOLDER/measures.jsonl is not measured again; FOLDER/measures.md is a table of all
of it, with the slope of log processor time over log rows.

  generate       the log, the catalogue, and answers
  examples       `preprocessing examples`, histories of 50
  input          an epoch of training input, from its files to batches for the model, no training
  group          `preprocessing group`, of items and of users by what they like
  link           `preprocessing link`, ten names an item
  encode         `preprocessing encode` of answers about items and groups, with TF-IDF
  link_vectors   `preprocessing encode` of the links
  collaborative  `preprocessing encode` of vectors from the log
  train          `trainer train`, an epoch of DCN with answers as a field and links in the match
  train_without  the same without knowledge
  evaluate       `trainer evaluate` on the test part, with all slices
  export         `serving export`, with its proof
  load           loads the export as TensorFlow Serving does
  refresh        `serving refresh` with new answers about one item in a hundred

`train` and `train_without` also say the validation AUC, and `attainable_auc` what it would be with
the tastes that the answers tell, and without them.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from benchmarks.measuring import print_measure, run_measured
from configs.command_line import set_up_tensorflow
from configs.loading import load_scenario
from examples.synthetic import SyntheticLog, data_section

_NAME = "scale"
_ROWS_PER_ENTITY = 100
_REFRESHED = 0.01


@dataclass(frozen=True)
class MeasuredCommand:
    """A command that is measured.

    Attributes:
      words: what comes after `python -m`; {config} and {folder} stand for the scenario.
      makes: folders that it makes, below the size's own; they are removed before.
      auc: whether it says a validation AUC.
    """

    words: str
    makes: tuple[str, ...] = ()
    auc: bool = False


_ONE_PROCESS = "--beam-option direct_num_workers=1"
_ENCODE = "preprocessing encode --config {config} --json"
_TRAIN = "trainer train --config {config} --force --json run_dir={folder}/"
STEPS = {
    "generate": MeasuredCommand("examples.synthetic {folder} {log}"),
    "examples": MeasuredCommand(
        f"preprocessing examples --config {{config}} --json {_ONE_PROCESS}", ("work/examples",)
    ),
    "input": MeasuredCommand("benchmarks.scale --read {config}"),
    "group": MeasuredCommand("preprocessing group --config {config} --json", ("work/groups",)),
    "link": MeasuredCommand("preprocessing link --config {config} --json", ("work/links",)),
    "encode": MeasuredCommand(
        f"{_ENCODE} --source item --source liked",
        ("work/knowledge/item", "work/knowledge/liked", "work/encoded_texts"),
    ),
    "link_vectors": MeasuredCommand(f"{_ENCODE} --source links", ("work/knowledge/links",)),
    "collaborative": MeasuredCommand(
        f"{_ENCODE} --source ratings {_ONE_PROCESS}", ("work/knowledge/ratings",)
    ),
    "train": MeasuredCommand(f"{_TRAIN}run", ("run",), auc=True),
    "train_without": MeasuredCommand(
        f"{_TRAIN}run_without model.adapter=none model.match=none", ("run_without",), auc=True
    ),
    "evaluate": MeasuredCommand("trainer evaluate {folder}/run --slices all --json"),
    "export": MeasuredCommand(
        "serving export {folder}/run --out {folder}/export --json", ("export",)
    ),
    "load": MeasuredCommand("benchmarks.scale --load {folder}/export/1"),
    "refresh": MeasuredCommand(
        "serving refresh --model {folder}/export --answers {folder}/new_answers.jsonl --json",
        ("export/2",),
    ),
}


def main(words: list[str] | None = None) -> None:
    """Measures what is not measured yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000, 10_000_000])
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP")
    parser.add_argument("--folder", type=Path, default=Path("out/scale"), help="keeps everything")
    parser.add_argument("--known", type=float, default=0.7, help="share of answers that know")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="or .png")
    parser.add_argument("--load", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.load:
        _load(arguments.load)
    elif arguments.read:
        _read(arguments.read)
    else:
        _measure(arguments)


def scenario_tree(folder: Path) -> dict[str, Any]:
    """The scenario over a folder's files; vectors and model are small."""
    return {
        "name": "scale",
        "work_dir": str(folder / "work"),
        "data": data_section(folder, history_length=50),
        "knowledge": {
            "sources": ["item", "liked"],
            "answers": {
                "item": {
                    "entity": "item",
                    "individual": [str(folder / "item_answers.jsonl")],
                    "collective": [str(folder / "item_group_answers.jsonl")],
                    "grouping": {"dimension": 16},
                },
                "liked": {
                    "entity": "user",
                    "collective": [str(folder / "liked_group_answers.jsonl")],
                    "grouping": {"dimension": 16},
                },
                "links": {
                    "entity": "item",
                    "individual": [str(folder / "link_answers.jsonl")],
                    "links": {"dimension": 32},
                },
                "ratings": {"entity": "item", "collaborative": {"dimension": 16}},
            },
            "encoder": {"kind": "tfidf", "dimension": 32},
        },
        "prompts": {"scenario": "movies", "user_groups": {"liked": "liked"}},
        "model": {
            "backbone": "dcn",
            "adapter": "linear",
            "match": "ridge",
            "knowledge_match": {"sources": ["links"], "link_dimension": 32},
            "embedding_dimension": 16,
            "top_units": [64, 32],
        },
        "training": {
            "epochs": 1,
            "batch_size": 4096,
            "learning_rate": 0.003,
            "embedding_optimizer": "lazy_adam",
            "input": "stream",
        },
    }


def _measure(arguments: argparse.Namespace) -> None:
    arguments.folder.mkdir(parents=True, exist_ok=True)
    kept = arguments.folder / "measures.jsonl"
    for rows in arguments.rows:
        entities = max(1, rows // _ROWS_PER_ENTITY)
        log = SyntheticLog(rows, entities, entities, arguments.seed, known=arguments.known)
        size = arguments.folder / f"rows_{rows}_seed_{log.seed}_known_{log.known:g}"
        described = {"rows": rows, "seed": log.seed, "known": log.known}
        for name in arguments.steps:
            if not any(
                {"step": name, **described}.items() <= line.items() for line in _lines(kept)
            ):
                line = print_measure(_NAME, step=name, **described, **_measured(name, size, log))
                with kept.open("a", encoding="utf-8") as file:
                    file.write(f"{line}\n")
    lines = [
        line
        for line in _lines(kept)
        if (line["seed"], line["known"]) == (arguments.seed, arguments.known)
    ]
    (arguments.folder / "measures.md").write_text(table(lines), encoding="utf-8")
    if arguments.plot:
        _plot(lines, arguments.plot)


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _measured(name: str, folder: Path, log: SyntheticLog) -> dict[str, object]:
    step = STEPS[name]
    for made in step.makes:
        shutil.rmtree(folder / made, ignore_errors=True)
    _prepare(name, folder, log)
    sizes = ("interactions", "users", "items", "seed", "known")
    options = " ".join(f"--{size} {getattr(log, size)}" for size in sizes)
    words = step.words.format(folder=folder, config=folder / "scenario.yaml", log=options)
    try:
        used = run_measured([sys.executable, "-m", *words.split()])
    except subprocess.CalledProcessError as error:
        sys.exit(f"python -m {words}: failed with exit code {error.returncode}")
    aucs: dict[str, object] = {}
    if step.auc:
        aucs["validation_auc"] = json.loads(used.output)["validation"]["auc"]
        aucs["attainable_auc"] = log.attainable_auc(0.0 if "without" in name else log.known)
    return {
        "seconds": used.seconds,
        "cpu_seconds": used.cpu_seconds,
        "peak_megabytes": used.peak_megabytes,
        "written_megabytes": used.written_megabytes,
        **aucs,
    }


def _prepare(name: str, folder: Path, log: SyntheticLog) -> None:
    """Writes what somebody else would have before this step: a scenario, or answers of an LLM."""
    if name == "generate":
        folder.mkdir(exist_ok=True)
        (folder / "scenario.yaml").write_text(yaml.safe_dump(scenario_tree(folder)))
    elif name == "encode":
        for source in ("item", "liked"):
            groups = folder / "work" / "groups" / source / "groups.csv"
            log.write_group_answers(groups, source, folder / f"{source}_group_answers.jsonl")
    elif name == "refresh":
        # Answers are about every second item.
        items = max(2, round(2 * _REFRESHED * log.items))
        replace(log, items=items, seed=log.seed + 1).write_answers(folder / "new_answers.jsonl")


def _load(version: Path) -> None:
    set_up_tensorflow()
    from serving.c_api import CApiSession

    with CApiSession(version):
        pass


def _read(config: Path) -> None:
    set_up_tensorflow()
    from models.building import build_model
    from trainer.examples import ExampleStore
    from trainer.training_input import Worker, training_examples

    scenario = load_scenario(str(config), ["model.adapter=none", "model.match=none"])
    store = ExampleStore()
    model = build_model(scenario, store.tables(scenario))
    for _ in training_examples(scenario, model, store, Worker()).input.epoch(0):
        pass


def slope(lines: Sequence[dict[str, Any]]) -> float | None:
    """Least squares slope of log processor time over log rows; None for fewer than two sizes."""
    if len(lines) < 2:
        return None
    rows, seconds = (np.log([line[key] for line in lines]) for key in ("rows", "cpu_seconds"))
    return float(np.polyfit(rows, seconds, 1)[0])


def table(lines: Sequence[dict[str, Any]]) -> str:
    """The measures as Markdown: a row for each step and size; the slope stands beside the last."""
    columns: dict[str, Callable[[dict[str, Any]], float]] = {
        "wall s": lambda line: line["seconds"],
        "processor s": lambda line: line["cpu_seconds"],
        "us a row": lambda line: line["cpu_seconds"] / line["rows"] * 1e6,
        "peak MB": lambda line: line["peak_megabytes"],
        "written MB": lambda line: line["written_megabytes"],
    }
    text = [
        f"| step | rows | {' | '.join(columns)} | slope |",
        f"| --- {'| ---: ' * (len(columns) + 2)}|",
    ]
    for name in STEPS:
        measures = sorted(
            (line for line in lines if line["step"] == name), key=lambda line: line["rows"]
        )
        for line in measures:
            values = [_rounded(column(line)) for column in columns.values()]
            steepness = slope(measures) if line is measures[-1] else None
            values.append("" if steepness is None else f"{steepness:.2f}")
            text.append(f"| {name} | {line['rows']:,} | {' | '.join(values)} |")
    return "\n".join(text) + "\n"


def _rounded(value: float) -> str:
    return f"{value:,.{0 if value >= 10 else 1}f}"


def _plot(lines: Sequence[dict[str, Any]], path: Path) -> None:
    """Processor time over rows, both logarithmic, beside a line of slope 1."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": _NAME}):
        figure = Figure(figsize=(8, 6), layout="constrained")
        axes = figure.subplots()
        axes.set(xscale="log", yscale="log", xlabel="rows of the log", ylabel="processor seconds")
        for number, name in enumerate(STEPS):
            points = sorted(
                (line["rows"], line["cpu_seconds"]) for line in lines if line["step"] == name
            )
            if points:
                style = ("-o", "--s")[number // 10]
                axes.plot(*zip(*points, strict=True), style, markersize=4, label=name)
        rows = sorted({line["rows"] for line in lines})
        if len(rows) > 1:
            linear = [10 * count / rows[0] for count in (rows[0], rows[-1])]
            axes.plot([rows[0], rows[-1]], linear, ":", color="0.5", label="slope 1")
        axes.grid(alpha=0.3)
        axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), frameon=False)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)


if __name__ == "__main__":
    main()
