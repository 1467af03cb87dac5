"""How well items that no training saw are ranked, before and after a refresh brings their answers.

A share of the movies with an LLM answer of their own is taken out of training altogether: no
training rating, no answer, no group. Their ratings stay where test samples are made from. A model
is trained and exported, `refresh` brings the answers of the new movies, and both versions score the
same test samples of these movies. All that differs is the knowledge that arrived: prose about the
new movies, or which movies they go with (`--knowledge links`). Nobody named the new movies before
they were there, so names do not find them until then.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
import yaml
from pydantic import Field

from configs.command_line import (
    CommandError,
    TeachingParser,
    add_field_options,
    add_json_option,
    run_command,
    say,
    set_up_tensorflow,
)
from configs.data import Split
from configs.loading import load_scenario
from configs.scenario import Scenario
from configs.section import Metavar, Section
from preprocessing.beam_options import silence_beam_import_logs
from preprocessing.interactions.sequences import TRAIN, knowledge_boundaries, share_up_to

CONFIG = Path("configs/movielens_small.yaml")
_RATINGS = Path("examples/movielens_small/ratings.csv.gz")
_ANSWERS = Path("examples/movielens_small/answers")
_CATALOGUE = Path("examples/movielens_small/movies.csv")
_GROUPS = Path("examples/movielens_small/groups_item.csv")
_TEST_SHARE = 0.1
_RESAMPLES = 1000

Rows = list[dict[str, str]]


class _Options(Section):
    out: Annotated[str, Metavar("DIR")] = Field("out/cold_items", description="folder for all")
    knowledge: Literal["prose", "links"] = Field(
        "prose", description="what the LLM says about a movie: a text, or names of other movies"
    )
    share: float = Field(0.2, description="of the movies with an answer")
    seeds: list[int] = Field([1, 2, 3], description="of the trainings")
    cache: Annotated[str | None, Metavar("DIR")] = Field(
        None, description="vectors of an earlier `encode`, so that it is not repeated"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs everything and returns the exit code."""
    parser = TeachingParser(
        prog="python -m examples.movielens_small.cold_items", description=__doc__
    )
    add_field_options(parser, _Options)
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="of the scenario, e.g. training.epochs=2"
    )
    add_json_option(parser)
    parsed = parser.parse_args(arguments)
    silence_beam_import_logs()
    set_up_tensorflow()
    return run_command(_run, parsed)


def _run(arguments: argparse.Namespace) -> Mapping[str, object]:
    from preprocessing.encode import encode
    from preprocessing.examples import build_examples
    from trainer.significance import bootstrap_auc_difference

    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    answers = _read_lines(_ANSWERS / "item_individual.jsonl.gz")
    new = _new_items([answer["entity_id"] for answer in answers], arguments.share)
    if arguments.knowledge == "links":
        answers = _read_lines(_ANSWERS / "item_links.jsonl.gz")
    config = write_inputs(folder, answers, new, arguments.knowledge)
    overrides = [f"knowledge.encoder.cache={arguments.cache}"] if arguments.cache else []
    overrides += arguments.overrides
    scenario = load_scenario(config, overrides)
    encode(scenario)
    build_examples(scenario)
    _require_new(scenario, new)
    brought = folder / "new_answers.jsonl"
    _write_lines(brought, (answer for answer in answers if answer["entity_id"] in new))

    labels, users, without, with_knowledge, reports = np.zeros(0), np.zeros(0), [], [], []
    for seed in arguments.seeds:
        run_dir = folder / "runs" / f"seed{seed}"
        seeded = load_scenario(config, [*overrides, f"training.seed={seed}", f"run_dir={run_dir}"])
        before, after, report = _two_versions(seeded, folder / "export" / f"seed{seed}", brought)
        cold = np.isin(before["item_id"].to_numpy(), sorted(new))
        labels, users = before["label"].to_numpy()[cold], before["user_id"].to_numpy()[cold]
        without.append(before["score"].to_numpy()[cold])
        with_knowledge.append(after["score"].to_numpy()[cold])
        reports.append(report)
    auc = bootstrap_auc_difference(
        labels, users, np.stack(without), np.stack(with_knowledge), _RESAMPLES, paired_runs=True
    )
    say(
        f"test AUC on {len(labels):,} samples of {len(new):,} new movies by {len({*users}):,} "
        f"users, mean of {len(arguments.seeds)} seeds: {auc.baseline:.4f} without knowledge, "
        f"{auc.candidate:.4f} after the refresh; difference {auc.difference:+.4f}, 95 % "
        f"interval [{auc.low:+.4f}, {auc.high:+.4f}]"
    )
    return {
        "new_items": len(new),
        "samples": len(labels),
        "users": len({*users}),
        "seeds": arguments.seeds,
        "auc_without": auc.baseline,
        "auc_after_refresh": auc.candidate,
        "difference": auc.difference,
        "interval": [auc.low, auc.high],
        "p_value": auc.p_value,
        "refresh": reports[-1],
    }


def _two_versions(
    scenario: Scenario, base: Path, answers: Path
) -> tuple[pa.Table, pa.Table, dict[str, Any]]:
    """Test scores of the exported and of the refreshed version, and what the refresh said."""
    from serving.export import export_run
    from serving.refresh.incoming import AnswerFiles
    from serving.refresh.refreshing import RefreshRequest, refresh
    from trainer.evaluation.exports import export_scores
    from trainer.training import train

    train(scenario, progress=False)
    exported = export_run(str(scenario.run_dir), base)
    report = refresh(RefreshRequest(base, AnswerFiles([str(answers)]), version=exported["version"]))
    before, after = (
        pa.concat_tables(export_scores(Path(path), scenario, "test").tables())
        for path in (exported["path"], report["path"])
    )
    return before, after, report


def _require_new(scenario: Scenario, new: set[str]) -> None:
    """Raises CommandError if a new movie has a rating that training knows."""
    from preprocessing.records.item_tables import read_item_attributes
    from preprocessing.records.layout import WorkDirectory

    items = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    counts = zip(items.item_ids, items.rating_count, strict=True)
    if known := sorted(item for item, count in counts if count and item in new):
        raise CommandError(
            f"{len(known)} new movies have training ratings, {known[0]} for one: with "
            f"split.fractions={scenario.split.fractions} the last tenth of a user's ratings is "
            "not all validation and test"
        )


def _new_items(items: Sequence[str], share: float) -> set[str]:
    return set(random.Random(0).sample(sorted(items), round(share * len(items))))


def write_inputs(
    folder: Path, answers: Sequence[Mapping[str, Any]], new: set[str], knowledge: str = "prose"
) -> Path:
    """Writes log and answers as if the new movies were new, and the scenario over them.

    Args:
      folder: where the files belong.
      answers: of all movies, prose or names of other movies.
      new: ids of the new movies.
      knowledge: "prose", with groups for movies without an answer of their own, or "links".
    """
    with gzip.open(_RATINGS, "rt", encoding="utf-8", newline="") as file:
        ratings = list(csv.DictReader(file))
    split = load_scenario(CONFIG).split
    _write_table(folder / "ratings.csv", without_training_ratings(ratings, new, split))
    old_answers = (answer for answer in answers if answer["entity_id"] not in new)
    _write_lines(folder / "answers.jsonl", old_answers)
    tree = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))
    tree |= {"name": "cold_items", "work_dir": str(folder / "work")}
    tree["data"]["interactions"]["path"] = str(folder / "ratings.csv")
    individual: dict[str, object] = {"individual": [str(folder / "answers.jsonl")]}
    if knowledge == "links":
        source, described = "links", individual
        tree["data"]["catalogue"]["path"] = str(folder / "movies.csv")
        with _CATALOGUE.open(encoding="utf-8", newline="") as file:
            movies = list(csv.DictReader(file))
        untitled = [{**row, "title": ""} if row["item_id"] in new else row for row in movies]
        _write_table(folder / "movies.csv", untitled)
    else:
        source, described = "item", {**individual, "groups": str(folder / "groups.csv")}
        with _GROUPS.open(encoding="utf-8", newline="") as file:
            groups = [row for row in csv.DictReader(file) if row["item_id"] not in new]
        _write_table(folder / "groups.csv", groups)
    answers_of_sample = tree["knowledge"]["answers"]
    # Groups of movies may have been made from any rating: with them, samples are those of the demo.
    answers_there = {
        "item": answers_of_sample["item"],
        source: answers_of_sample[source] | described,
    }
    tree["knowledge"] |= {"sources": [source], "answers": answers_there}
    tree["model"] |= {
        "match": "ridge",
        "knowledge_match": {"sources": [source]},
        "prior": True,
        "knowledge_prior": {"sources": [source]},
    }
    del tree["experiment"]
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def without_training_ratings(ratings: Rows, new: set[str], split: Split) -> Rows:
    """Leaves ratings of new movies only among the last of every user, none of them for training."""
    user_ratings: dict[str, Rows] = {}
    for row in ratings:
        user_ratings.setdefault(row["user_id"], []).append(row)
    kept = []
    for rows in user_ratings.values():
        rows.sort(key=lambda row: int(row["timestamp"]))
        end = len(rows) - int(_TEST_SHARE * len(rows))
        while any(row["item_id"] in new for row in rows[:end]):
            rows = [row for row in rows[:end] if row["item_id"] not in new] + rows[end:]
            # Parts are shares of the ratings that are left.
            end = _training_end(len(rows), split)
        kept += rows
    return kept


def _training_end(count: int, split: Split) -> int:
    """How many of a user's ratings training may know; see `split_interactions`, time."""
    seen = int(knowledge_boundaries(np.array(count), split.knowledge_history_cap))
    return seen + int(share_up_to(split, TRAIN) * (count - seen) + Fraction(1, 2))


def _read_lines(path: Path) -> list[dict[str, Any]]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return [json.loads(line) for line in file]


def _write_lines(path: Path, records: Iterable[Mapping[str, Any]]) -> None:
    lines = (json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_text("".join(lines), encoding="utf-8")


def _write_table(path: Path, rows: Rows) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    sys.exit(main())
