"""The files of the study: interactions in three parts, answers, variants of both.

The split is drawn here and written beside every interaction, since variants drop interactions of
the training part and must leave the others where they are.

MovieLens-1M may be used for research and not be passed on, so its files come from where a user put
them. Listeners and artists are made up (`examples.synthetic`): twelve audiences, of which
links know seven artists in ten, and genres, each shared by two audiences, six in ten.
"""

from __future__ import annotations

import gzip
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv

from configs.loading import ConfigurationError
from examples.movielens_small.control_answers import (
    dealt_anew,
    shuffled_lists,
    write_answers,
    write_renamed,
)
from examples.synthetic import SyntheticLog
from preprocessing.answers.checks import Thresholds
from preprocessing.answers.importing import import_answers
from preprocessing.answers.names import name_lists
from preprocessing.answers.record import numbered_lines, parse_answer
from preprocessing.records.contract import EXTRACTIONS, INDIVIDUAL

FOLDERS = (Path("data/movielens_1m"), Path("../shared/data/ml-1m"))
"""Where the files are looked for."""
_SHARES = (0.8, 0.1, 0.1)
_PARTS = ("train", "validation", "test")
_SEED = 0
POPULAR = (5, 10, 25, 50)
"""Percentages of the films, the most rated first, whose links alone are kept."""
NAMES = (1, 3)
"""How many names of each list are kept, instead of ten."""
MUSIC_WORLD = SyntheticLog(
    interactions=40_000,
    users=1_000,
    items=400,
    clusters=12,
    known=0.7,
    genres=("Blues", "Country", "Electronic", "Folk", "Jazz", "Pop"),
    told_by_genre=0.6,
    loyalty=1.0,
)


@dataclass(frozen=True)
class Variant:
    """How interactions are divided, and what is taken out of the training part.

    Attributes:
      name: also its folder.
      new_items: share of the items that training never sees; validation and test keep them.
      training_users: share of the training users that stay.
      by_time: whether the parts follow each other within each user; else they are of users.
    """

    name: str
    new_items: float = 0.0
    training_users: float = 1.0
    by_time: bool = False


def source_folder(asked: str | None) -> Path:
    """The folder with ratings and answers.

    Raises:
      ConfigurationError: there is none; says how to get one.
    """
    for folder in FOLDERS if asked is None else (Path(asked),):
        if (folder / "movies.dat").is_file():
            return folder
    looked = asked or ", ".join(str(folder) for folder in FOLDERS)
    raise ConfigurationError(
        f"no MovieLens-1M in {looked} (movies.dat). It may not be passed on with this project: "
        "'python -m preprocessing download movielens_1m' brings it, or says how to; then put the "
        "answers of an LLM beside it, in answers/item_links and answers/item_prose "
        "(docs/evidence/index.md, What it takes)"
    )


def write_variant(source: Path, variant: Variant, folder: Path) -> dict[str, int]:
    """Writes everything that the scenario of a variant reads.

    Args:
      source: ratings, films, users and answers as they came.
      variant: what is taken out.
      folder: gets the files.

    Returns:
      Counts: ratings of each part, users, films, new films.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ratings = _read_ratings(source)
    divided = _divided(ratings["user_id"], ratings["item_id"], variant)
    table = pa.table({**ratings, "part": divided.parts}).filter(pa.array(divided.kept))
    written = io.BytesIO()
    pyarrow.csv.write_csv(table, written)
    (folder / "ratings.csv.gz").write_bytes(gzip.compress(written.getvalue(), 6, mtime=0))
    films = [str(film) for film in divided.items]
    new_films = [film for film, is_new in zip(films, divided.is_new, strict=True) if is_new]
    (folder / "new_items.json").write_text(json.dumps(new_films))
    for name in ("movies.dat", "users.dat"):
        shutil.copyfile(source / name, folder / name)
    counts = dict(zip(films, map(int, divided.training_counts), strict=True))
    _write_answers(source, folder, counts)
    return {
        **_counts_by_part(table),
        "users": divided.users,
        "films": len(films),
        "new_films": len(new_films),
    }


def write_music(variant: Variant, folder: Path) -> dict[str, int]:
    """Writes who listened to whom, the artists with genres, and an answer with links of each.

    A listener's artists stand in the order in which each was first heard; there is no time. Names
    in answers are artists' names, some of them mistyped, some of artists that nobody here knows.

    Args:
      variant: what is taken out.
      folder: gets the files.

    Returns:
      Counts: artists heard by the listeners of each part, listeners, artists, new artists.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pairs = np.stack(MUSIC_WORLD.pairs(np.arange(MUSIC_WORLD.interactions)), axis=1) + 1
    _, first = np.unique(pairs, axis=0, return_index=True)
    listeners, artists = pairs[np.sort(first)].T
    divided = _divided(listeners, artists, variant)
    columns = {"listener": listeners, "artist": artists, "part": divided.parts}
    table = pa.table(columns).filter(pa.array(divided.kept))
    pyarrow.csv.write_csv(table, folder / "plays.csv")
    MUSIC_WORLD.write_catalogue(folder / "artists.csv")
    MUSIC_WORLD.write_links(folder / "links.jsonl")
    return {
        **_counts_by_part(table),
        "listeners": divided.users,
        "artists": MUSIC_WORLD.items,
        "new_artists": int(divided.is_new.sum()),
    }


def write_sample(folder: Path) -> dict[str, int]:
    """Writes the bundled answers about films and about groups of films as two sources.

    Returns:
      No counts: the sample is always the same.
    """
    for extraction in EXTRACTIONS:
        write_renamed(folder, f"item_{extraction}", extraction)
    return {}


def _counts_by_part(table: pa.Table) -> dict[str, int]:
    return {name: int(pc.sum(pc.equal(table["part"], name)).as_py()) for name in _PARTS}


@dataclass(frozen=True)
class _Divided:
    """Interactions in three parts.

    Attributes:
      parts: [interactions], names.
      kept: [interactions], whether the variant has them.
      users: how many there are, in all parts.
      items: [items], ids.
      is_new: [items], whether training never sees them.
      training_counts: [items], training interactions that are kept.
    """

    parts: np.ndarray
    kept: np.ndarray
    users: int
    items: np.ndarray
    is_new: np.ndarray
    training_counts: np.ndarray


def _divided(user_ids: np.ndarray, item_ids: np.ndarray, variant: Variant) -> _Divided:
    users, user_of_row = np.unique(user_ids, return_inverse=True)
    items, item_of_row = np.unique(item_ids, return_inverse=True)
    part_of_user = _drawn_parts(len(users))
    kept_users = _kept_training_users(part_of_user, variant.training_users)
    is_new = np.zeros(len(items), bool)
    generator = np.random.default_rng(_SEED + 1)
    is_new[generator.permutation(len(items))[: round(variant.new_items * len(items))]] = True
    parts = _parts_in_time(user_of_row) if variant.by_time else part_of_user[user_of_row]
    in_training = parts == 0
    kept = ~(in_training & (is_new[item_of_row] | ~kept_users[user_of_row]))
    return _Divided(
        parts=np.array(_PARTS)[parts],
        kept=kept,
        users=len(users),
        items=items,
        is_new=is_new,
        training_counts=np.bincount(item_of_row[in_training & kept], minlength=len(items)),
    )


def _read_ratings(source: Path) -> dict[str, np.ndarray]:
    """Ratings by user and time, with the place of each in its user's order."""
    ordered = source / "ratings.csv.gz"
    if ordered.is_file():
        table = pyarrow.csv.read_csv(ordered)
        return {name: table[name].to_numpy() for name in table.column_names}
    text = (source / "ratings.dat").read_bytes().replace(b"::", b",")
    names = ["user_id", "item_id", "rating", "timestamp"]
    options = pyarrow.csv.ReadOptions(column_names=names)
    table = pyarrow.csv.read_csv(pa.BufferReader(text), read_options=options)
    columns = {name: table[name].to_numpy() for name in names}
    order = np.lexsort([columns["timestamp"], columns["user_id"]])
    columns = {name: values[order] for name, values in columns.items() if name != "timestamp"}
    starts = np.r_[0, np.flatnonzero(np.diff(columns["user_id"])) + 1]
    lengths = np.diff(np.r_[starts, len(order)])
    return {**columns, "position": np.arange(len(order)) - np.repeat(starts, lengths)}


def _drawn_parts(users: int) -> np.ndarray:
    """Part of each user, [users], 0 to 2."""
    bounds = np.round(np.cumsum(_SHARES) * users).astype(int)
    parts = np.empty(users, int)
    parts[np.random.default_rng(_SEED).permutation(users)] = np.searchsorted(
        bounds, np.arange(users), side="right"
    )
    return parts


def _parts_in_time(user_of_row: np.ndarray) -> np.ndarray:
    """Part of each interaction, 0 to 2, by its place among those of its user."""
    parts = np.empty(len(user_of_row), int)
    order = np.argsort(user_of_row, kind="stable")
    ends = np.flatnonzero(np.diff(user_of_row[order], append=-1)) + 1
    for start, end in zip(np.r_[0, ends[:-1]], ends, strict=True):
        bounds = np.round(np.cumsum(_SHARES) * (end - start)).astype(int)
        parts[order[start:end]] = np.searchsorted(bounds, np.arange(end - start), side="right")
    return parts


def _kept_training_users(part_of_user: np.ndarray, share: float) -> np.ndarray:
    training = np.flatnonzero(part_of_user == 0)
    order = np.random.default_rng(_SEED + 2).permutation(training)
    kept = part_of_user != 0
    kept[order[: round(share * len(order))]] = True
    return kept


def _write_answers(source: Path, folder: Path, training_ratings: Mapping[str, int]) -> None:
    links, prose = (
        _first_file(source / "answers", names)
        for names in (
            ("item_links/answers.jsonl", "item_links.jsonl.gz"),
            ("item_prose/answers.jsonl", "item_prose.jsonl.gz", "colakg_item.json.gz"),
        )
    )
    if links is None or prose is None:
        raise ConfigurationError(
            f"{source / 'answers'} needs item_links/answers.jsonl and item_prose/answers.jsonl; "
            "docs/evidence/index.md, What it takes, says how an LLM is asked"
        )
    import_answers([str(prose)], "prose", folder / "prose")
    imported = folder / "links"
    import_answers([str(links)], "links", imported, thresholds=Thresholds(form="names"))
    answers = (
        parse_answer(line, "links", INDIVIDUAL)
        for _, line in numbered_lines(str(imported / "answers.jsonl"))
    )
    listed = [name_lists(answer, "item").lists[0] for answer in answers]
    films = [one.entity_id for one in listed]
    lists = [[name for name in one.names if isinstance(name, str)] for one in listed]
    versions = {
        **dict.fromkeys(("links", "links_smooth"), dict(zip(films, lists, strict=True))),
        "links_shuffled": dict(zip(films, shuffled_lists(lists), strict=True)),
        "links_random": dict(zip(films, dealt_anew(lists), strict=True)),
        **{
            f"links_{count}": dict(zip(films, (names[:count] for names in lists), strict=True))
            for count in NAMES
        },
    }
    by_count = sorted(training_ratings, key=lambda film: (-training_ratings[film], film))
    for share in POPULAR:
        kept = set(by_count[: round(share / 100 * len(by_count))])
        versions[f"links_popular_{share}"] = {
            film: names for film, names in versions["links"].items() if film in kept
        }
    for name, by_film in versions.items():
        texts = (json.dumps({"links": names}, ensure_ascii=False) for names in by_film.values())
        write_answers(folder, name, "individual", list(by_film), texts)


def _first_file(folder: Path, names: Sequence[str]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)
