"""A tiny scenario with learnable tastes, and its work directory, made by the real pipelines.

Made once per process and shared; tests that change files work on `copied_scenario`.
"""

from __future__ import annotations

import atexit
import csv
import functools
import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from configs.loading import load_scenario, load_section
from configs.scenario import Scenario
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from preprocessing.records.layout import StepDirectory

GENRES = ("Action", "Comedy", "Drama", "Western")
NUM_USERS, NUM_ITEMS = 40, 60
KNOWLEDGE_HISTORY_CAP = 10
USERS = tuple(f"u{number}" for number in range(1, NUM_USERS + 1))
ITEMS = tuple(str(number) for number in range(1, NUM_ITEMS + 1))
USERS_WITH_ANSWER = USERS[:36]
ITEMS_WITH_ANSWER = ITEMS[:40]
ITEMS_WITH_GROUP = ITEMS[40:59]
"""The last item has no knowledge at all."""
ITEMS_OUTSIDE_CATALOGUE = ITEMS[-4:-2]
KNOWLEDGE_ONLY_ITEMS = ("900", "901")
"""In no catalogue and never rated; the first has an answer of its own, the second a group."""
CITIES = ("Oslo", "Lima", "Bonn")
USERS_WITH_PROFILE = USERS[:30]
LOVED_FROM = 4.5
LIKES_WIDTH = 6
"""Profiles and the further label are those of `rich_scenario` alone."""
MALFORMED_INTERACTIONS, MALFORMED_ITEM_ANSWERS = 1, 2

_GENRE_WORDS = {
    "Action": "explosions chases and stunts",
    "Comedy": "jokes wit and laughter",
    "Drama": "grief family and silence",
    "Western": "horses dust and duels",
}


def tiny_scenario(**assignments: object) -> Scenario:
    """The scenario, its work directory built; `model__match="ridge"` sets `model.match`.

    Options may be set that have no effect.
    """
    return load_section(Scenario, tiny_config(), _overrides(assignments))


def rich_scenario(**assignments: object) -> Scenario:
    """The same with all kinds of examples, user profiles and a further label, "loved".

    There are two more item sources: "plain" from metadata, and "likes", which is collaborative.
    """
    return load_section(Scenario, rich_config(), _overrides(assignments))


def implicit_scenario(**assignments: object) -> Scenario:
    """The same interactions as implicit feedback: no ratings, and two sampled items for each."""
    return load_scenario(implicit_config(), _overrides(assignments))


def copied_scenario(folder: Path, **assignments: object) -> Scenario:
    """The scenario over a copy of the work directory, which the test may change."""
    work = folder / "work"
    original = Path(tiny_scenario().work_dir)
    shutil.copytree(original, work, ignore=shutil.ignore_patterns("runs", "export"))
    return tiny_scenario(work_dir=str(work), **assignments)


def list_files_anew(step: StepDirectory) -> None:
    """Makes a step's manifest list its files as the test left them."""
    manifest = json.loads(step.manifest.read_text(encoding="utf-8"))
    for name in manifest["files"]:
        contents = (step.path / name).read_bytes()
        digest = hashlib.sha256(contents).hexdigest()
        manifest["files"][name] = {"sha256": digest, "bytes": len(contents)}
    step.manifest.write_text(json.dumps(manifest), encoding="utf-8")


@functools.cache
def tiny_config() -> Path:
    """The scenario's YAML file; its work directory is complete."""
    config = write_tiny_inputs(_temporary_folder("tiny_scenario_"))
    _preprocess(config)
    return config


@functools.cache
def rich_config() -> Path:
    """The YAML file of `rich_scenario`; its work directory is complete."""
    folder = _temporary_folder("rich_scenario_")
    config = write_tiny_inputs(folder)
    _write_csv(
        folder / "users.csv",
        ["user_id", "city", "age"],
        [
            (user, "|".join(CITIES[number % 3 : number % 4]), 20 + number if number % 5 else "")
            for number, user in enumerate(USERS_WITH_PROFILE)
        ],
    )
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    tree["data"] |= {
        "examples": ["ctr", "rerank", "retrieval"],
        "labels": {"loved": {"minimum_rating": LOVED_FROM}},
        "profiles": {
            "path": str(folder / "users.csv"),
            "attributes": {
                "city": {"kind": "categorical", "separator": "|"},
                "age": {"kind": "numeric"},
            },
        },
    }
    tree["knowledge"]["answers"] |= {
        "plain": {"entity": "item", "metadata": ["title", "genres"]},
        "likes": {"entity": "item", "collaborative": {"dimension": LIKES_WIDTH}},
    }
    config.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    _preprocess(config)
    encode(load_scenario(config), sources=["plain", "likes"])
    return config


@functools.cache
def implicit_config() -> Path:
    """The YAML file of `implicit_scenario`; its work directory is complete."""
    folder = _temporary_folder("implicit_scenario_")
    config = write_tiny_inputs(folder)
    log = folder / "ratings.csv"
    # Without ratings the last line, whose rating is none, would be an interaction like all others.
    log.write_text("".join(log.read_text(encoding="utf-8").splitlines(True)[:-1]), encoding="utf-8")
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    tree["data"]["interactions"]["columns"] = {"rating": None}
    tree["data"]["negatives"] = {"per_positive": 2}
    config.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    _preprocess(config)
    return config


def _temporary_folder(prefix: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _preprocess(config: Path) -> None:
    scenario = load_scenario(config)
    encode(scenario)
    build_examples(scenario)


def _overrides(assignments: Mapping[str, object]) -> list[str]:
    return [f"{key.replace('__', '.')}={json.dumps(value)}" for key, value in assignments.items()]


def write_tiny_inputs(folder: Path) -> Path:
    """Writes all input files and the scenario's YAML into a folder; the work directory is empty."""
    random = np.random.default_rng(7)
    genres = [tuple(random.choice(GENRES, random.integers(1, 3), False)) for _ in ITEMS]
    tastes = random.choice([-1.3, 0.0, 1.3], size=[NUM_USERS, len(GENRES)])
    interactions = _interactions(random, genres, tastes)
    titles = {item: f"Film {item}" for item in ITEMS}
    _write_csv(
        folder / "ratings.csv",
        ["user_id", "item_id", "rating", "timestamp"],
        [*interactions, ("u1", "1", "excellent", 5)],
    )
    _write_csv(
        folder / "films.csv",
        ["item_id", "title", "genres", "year"],
        [
            (item, titles[item], "|".join(genres[row]), 1960 + row if row % 7 else "")
            for row, item in enumerate(ITEMS)
            if item not in ITEMS_OUTSIDE_CATALOGUE
        ],
    )
    _write_item_answers(folder, genres)
    _write_user_answers(folder, interactions, titles)
    config = folder / "tiny.yaml"
    config.write_text(yaml.safe_dump(_tree(folder), sort_keys=False), encoding="utf-8")
    return config


def _interactions(
    random: np.random.Generator, genres: list[tuple[str, ...]], tastes: np.ndarray
) -> list[tuple[str, str, float, int]]:
    """Ratings that follow from the user's taste for the item's genres and the item's quality."""
    quality = random.normal(scale=0.5, size=NUM_ITEMS)
    has_genre = np.array([[genre in names for genre in GENRES] for names in genres])
    rows = []
    for user in range(NUM_USERS):
        chosen = random.permutation(NUM_ITEMS)[: random.integers(25, NUM_ITEMS + 1)]
        for time, item in enumerate(chosen, start=1):
            liking = (has_genre[item] * tastes[user]).sum() + quality[item]
            rating = np.clip(3.6 + liking + random.normal(scale=0.4), 0.5, 5)
            rows.append((USERS[user], ITEMS[item], round(2 * rating) / 2, 1000 * time))
    return rows


def _write_item_answers(folder: Path, genres: list[tuple[str, ...]]) -> None:
    individual = [
        _answer("item", item, "individual", f"Film {item} offers {_words(genres[row])}")
        for row, item in enumerate(ITEMS_WITH_ANSWER)
    ]
    individual.append(
        _answer("item", KNOWLEDGE_ONLY_ITEMS[0], "individual", f"lost {_words(['Drama'])}")
    )
    rejected = [_answer("item", "41", "individual", " "), _answer("film", "1", "individual", "x")]
    _write_lines(folder / "item_answers.jsonl", [*individual, *rejected])
    group_of = {item: f"g_{genres[ITEMS.index(item)][0]}" for item in ITEMS_WITH_GROUP}
    group_of[KNOWLEDGE_ONLY_ITEMS[1]] = "g_Western"
    _write_csv(folder / "item_groups.csv", ["item_id", "group_id"], list(group_of.items()))
    _write_lines(
        folder / "item_group_answers.jsonl",
        [
            _answer("item", group, "collective", f"these films offer {_words([group[2:]])}")
            for group in sorted(set(group_of.values()))
        ],
    )


def _write_user_answers(
    folder: Path, interactions: list[tuple[str, str, float, int]], titles: Mapping[str, str]
) -> None:
    answers = []
    for user in USERS_WITH_ANSWER:
        own = [row for row in interactions if row[0] == user]
        seen = own[: min((len(own) + 1) // 2, KNOWLEDGE_HISTORY_CAP)]
        prompt = " ".join(
            f"{titles[item]} {rating} stars;"
            for _, item, rating, _ in seen
            if item not in ITEMS_OUTSIDE_CATALOGUE
        )
        best = max(seen, key=lambda row: row[2])
        text = f"liked {titles[best[1]]} among {len(own)}, {_words(GENRES[len(own) % 4 :])}"
        answers.append({**_answer("user", user, "individual", text), "prompt": prompt})
    _write_lines(folder / "user_answers.jsonl", answers)


def _answer(source: str, entity_id: str, extraction: str, answer: str) -> dict[str, str]:
    return {"source": source, "entity_id": entity_id, "extraction": extraction, "answer": answer}


def _words(genres: Any) -> str:
    return " and ".join(_GENRE_WORDS[genre] for genre in genres)


def _write_lines(path: Path, records: list[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")


def _write_csv(path: Path, header: list[str], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])


def _tree(folder: Path) -> dict[str, object]:
    return {
        "name": "tiny",
        "work_dir": str(folder / "work"),
        "data": {
            "interactions": {"path": str(folder / "ratings.csv")},
            "catalogue": {
                "path": str(folder / "films.csv"),
                "attributes": {
                    "genres": {"kind": "categorical", "separator": "|"},
                    "year": {"kind": "numeric"},
                },
            },
        },
        "split": {"knowledge_history_cap": KNOWLEDGE_HISTORY_CAP},
        "knowledge": {
            "sources": ["item", "user"],
            "answers": {
                "item": {
                    "entity": "item",
                    "individual": [str(folder / "item_answers.jsonl")],
                    "collective": [str(folder / "item_group_answers.jsonl")],
                    "groups": str(folder / "item_groups.csv"),
                },
                "user": {
                    "entity": "user",
                    "individual": [str(folder / "user_answers.jsonl")],
                    "history_entry_pattern": " stars;",
                },
            },
            "encoder": {"kind": "tfidf", "dimension": 12},
        },
        "model": {
            "embedding_dimension": 8,
            "attention_history_length": 8,
            "top_units": [16, 8],
            "hein": {"num_dedicated_experts": 3, "expert_units": [10, 8]},
            "knowledge_match": {"dimension": 6, "history_length": 30},
        },
        "training": {"epochs": 2, "batch_size": 128, "learning_rate": 0.01, "schedule": "cosine"},
        "evaluation": {"bootstrap_resamples": 50},
        "experiment": {
            "backbones": ["din", "dcnv2"],
            "arms": {
                "none": {"overrides": {"model.adapter": "none", "model.match": "none"}},
                "hein_match": {"overrides": {"model.adapter": "hein", "model.match": "ridge"}},
            },
            "seeds": [1],
        },
        "serving": {"model_name": "films"},
    }
