"""The example pipeline on the bundled sample, against a recomputation with pandas."""

from __future__ import annotations

import gzip
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.command_line import CommandError
from configs.loading import load_scenario
from preprocessing.examples import build_examples
from preprocessing.records.contract import PARTS
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset

SAMPLE = "examples/movielens_small"
CONFIG = "configs/movielens_small.yaml"
KNOWLEDGE_HISTORY_CAP = 30
KEY = ["user_id", "item_id", "timestamp"]
KIND = ["title", "rating"]


@pytest.fixture(scope="module")
def examples(
    repository_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, pd.DataFrame]:
    """The pipeline's samples: part -> one row per sample, histories as lists."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(repository_root)
        work_dir = tmp_path_factory.mktemp("sample") / "work"
        scenario = load_scenario(CONFIG, [f"work_dir={work_dir}"])
        result = build_examples(scenario)
        assert result["leak_violations"] == 0
        assert result["leak_check"]["users_verified_by_prompt"] == 671
        assert result["leak_check"]["unverified_sources"] == ["item"]
    return {part: read_part(work_dir, part) for part in PARTS}


def read_part(work_dir: Path, part: str) -> pd.DataFrame:
    frames = []
    for batch in example_dataset(WorkDirectory(work_dir).examples.shards(part), 4096):
        history, ratings = batch["history_item_id"].numpy(), batch["history_rating"].numpy()
        lengths = (history != b"").sum(axis=1)
        columns = {name: batch[name].numpy() for name in (*KEY, "position", "label", "rating")}
        columns["history"] = [
            history[row, :length].astype(str).tolist() for row, length in enumerate(lengths)
        ]
        columns["history_ratings"] = [
            ratings[row, :length].tolist() for row, length in enumerate(lengths)
        ]
        frames.append(pd.DataFrame(columns))
    frame = pd.concat(frames, ignore_index=True)
    for name in ("user_id", "item_id"):
        frame[name] = frame[name].str.decode("utf-8")
    return frame


@pytest.fixture(scope="module")
def ratings(repository_root: Path) -> pd.DataFrame:
    """All ratings in the order of each user's time, with position, boundary and part."""
    frame = pd.read_csv(
        repository_root / SAMPLE / "ratings.csv.gz", dtype={"user_id": str, "item_id": str}
    )
    frame["item_number"] = frame.item_id.astype(int)
    frame = frame.sort_values(["user_id", "timestamp", "item_number"], ignore_index=True)
    users = frame.groupby("user_id", sort=False)
    frame["position"] = users.cumcount()
    count = users.item_id.transform("size")
    frame["boundary"] = np.minimum((count + 1) // 2, KNOWLEDGE_HISTORY_CAP)
    # Rounded to the nearest number, halves up, in whole numbers: 0.8 m is 8 m / 10.
    samples = count - frame.boundary
    place = frame.position - frame.boundary
    train, validation = ((2 * samples * tenths + 10) // 20 for tenths in (8, 9))
    frame["part"] = np.select(
        [place < 0, place < train, place < validation],
        ["history only", "train", "validation"],
        "test",
    )
    return frame


def test_samples_of_each_part_are_those_of_the_rule(
    examples: dict[str, pd.DataFrame], ratings: pd.DataFrame
) -> None:
    assert ratings.groupby("part").size().drop("history only").to_dict() == {
        part: len(frame) for part, frame in examples.items()
    }
    for part, frame in examples.items():
        expected = ratings[ratings.part == part]
        joined = frame.merge(expected, on=KEY, validate="one_to_one", suffixes=("", "_expected"))
        assert len(joined) == len(frame) == len(expected)
        assert (joined.position == joined.position_expected).all()
        assert (joined.rating == joined.rating_expected).all()
        assert (joined.label == (joined.rating_expected >= 4)).all()


def test_the_language_model_saw_no_sample(
    examples: dict[str, pd.DataFrame], ratings: pd.DataFrame, repository_root: Path
) -> None:
    boundary = ratings.groupby("user_id").boundary.first()
    shown = prompt_lengths(repository_root / SAMPLE / "answers" / "user_individual.jsonl.gz")
    assert len(shown) > 600 and shown.min() >= 1
    for frame in examples.values():
        assert (frame.position >= frame.user_id.map(boundary)).all()
        assert (frame.position >= frame.user_id.map(shown).fillna(0)).all()


@pytest.mark.slow
def test_prompts_with_the_last_ratings_are_refused(
    ratings: pd.DataFrame, repository_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(repository_root)
    catalogue = pd.read_csv(f"{SAMPLE}/movies.csv", dtype=str, keep_default_na=False)
    shown = catalogue.title + catalogue.year.map(lambda year: f" ({year})" if year else "")
    titles = dict(zip(catalogue.item_id, shown.where(catalogue.title != "", ""), strict=True))
    titled = ratings.assign(title=ratings.item_id.map(titles).fillna(""))
    users = dict(list(titled[titled.title != ""].groupby("user_id")))
    with gzip.open(f"{SAMPLE}/answers/user_individual.jsonl.gz", "rt", encoding="utf-8") as file:
        answers = [json.loads(line) for line in file]
    expected = 0
    for answer in answers:
        user = users[answer["entity_id"]]
        last = user.tail(user.boundary.iloc[0])
        # A title that the user rated alike before k_u may stand for that rating.
        early = Counter(zip(*user[user.position < user.boundary][KIND].T.to_numpy(), strict=True))
        in_prompt = Counter(zip(*last[KIND].T.to_numpy(), strict=True))
        expected += (in_prompt - early).total()
        entries = (f"{row.title} {row.rating:.10g} stars" for row in last.itertuples())
        start = answer["prompt"].index(": ") + 2
        end = answer["prompt"].index(" Analyze the user's")
        history = "; ".join(entries)
        answer["prompt"] = f"{answer['prompt'][:start]}{history}.{answer['prompt'][end:]}"
        answer["prompt_sha256"] = None
    path = tmp_path / "answers.jsonl"
    path.write_text("".join(json.dumps(answer) + "\n" for answer in answers), encoding="utf-8")
    answers_key = f"knowledge.answers.user.individual={json.dumps([str(path)])}"
    scenario = load_scenario(CONFIG, [f"work_dir={tmp_path / 'work'}", answers_key])
    with pytest.raises(CommandError, match=f"prompts showed {expected:,} samples"):
        build_examples(scenario)


def prompt_lengths(path: Path) -> pd.Series:
    """User -> number of ratings that the prompt shows."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        answers = [json.loads(line) for line in file]
    return pd.Series(
        {
            answer["entity_id"]: answer["prompt"].count(" stars;")
            + answer["prompt"].count(" stars.")
            for answer in answers
        }
    )


def test_histories_are_the_newest_earlier_ratings(
    examples: dict[str, pd.DataFrame], ratings: pd.DataFrame
) -> None:
    items = ratings.groupby("user_id").item_id.agg(list)
    values = ratings.groupby("user_id").rating.agg(list)
    for row in pd.concat([examples["validation"], examples["test"]]).itertuples():
        earlier = slice(max(0, row.position - 200), row.position)
        assert row.history == items[row.user_id][earlier]
        assert row.history_ratings == values[row.user_id][earlier]
