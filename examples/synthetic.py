"""A made-up log whose tastes are known, and answers of an LLM that know a part of them.

    python -m examples.synthetic FOLDER --interactions 1000000 --users 10000 --items 10000

writes `interactions.csv`, `catalogue.csv`, `item_answers.jsonl` (prose about every second item) and
`link_answers.jsonl` (names of items that go with an item). Every number is a hash of the seed and
of what it is about, never of what was drawn before it. So files are written in blocks, memory does
not grow with them, and the size of a block changes no byte.

Items belong to clusters and, within them, to niches of some two hundred; a user likes half of the
clusters. A rating is

    3.6 + 0.3 quality(item) + 0.3 generosity(user) + 0.6 taste(user, cluster) + 0.8 noise

rounded to halves between 0.5 and 5; quality, generosity and noise are standard normal, taste is 1
or -1. A share `known` of the answers tells the item's cluster, the others tell nothing of it: what
knowledge can add to a ranking is known before anything is trained (`attainable_auc`).
"""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv
from scipy.special import ndtr, ndtri

from preprocessing.records.hashing import mixed, stable_hash, unit_interval

GENRES = ("Action", "Comedy", "Drama", "Horror", "Romance", "Thriller", "War", "Western")
LINKS = 10
"""Names in an answer about an item."""

_BLOCK = 1 << 17
_SECONDS_PER_YEAR = 365 * 24 * 3600
_EXPONENT = 0.5
"""Exponent of Zipf's law: the first of n is drawn sqrt(n) / 2 times as often as on average."""
_LINK_EXPONENT = 0.7
_TITLE_EXPONENT = 0.9
_NICHE = 200
_LEVELS = (0.7, 0.9)
"""Shares of links within the niche, and within niche or cluster."""
_MEAN, _QUALITY, _GENEROSITY, _TASTE, _NOISE = 3.6, 0.3, 0.3, 0.6, 0.8
_LIKED_FROM = 3.75
"""Ratings from here on are rounded to four and above."""
_WORDS_OF_ANSWER = 24
_WORDS_OF_CLUSTER = 12
_COMMON_WORDS = 400
_TITLE_WORDS = 40_009
_MISTYPED, _OUTSIDE = 0.05, 0.1
"""Shares of names with a wrong letter, and, above that, of items that the catalogue lacks."""


@dataclass(frozen=True)
class SyntheticLog:
    """A log, its catalogue and its answers.

    Attributes:
      interactions: rows; a few of them may repeat user, item and time.
      users: ids are the numbers from 1; the first are the most active ones.
      items: likewise; the first are the most popular ones.
      seed: other seeds give other logs.
      clusters: of taste.
      known: share of the answers that tell the item's cluster.
      genres: names.
      told_by_genre: share of the items whose first genre goes with their cluster; as there are
        fewer genres than clusters, it goes with others, too. Other genres tell nothing.
      loyalty: how often a user who meets a disliked cluster takes the favourite one instead.
    """

    interactions: int
    users: int
    items: int
    seed: int = 1
    clusters: int = 16
    known: float = 0.7
    genres: tuple[str, ...] = GENRES
    told_by_genre: float = 0.0
    loyalty: float = 0.5

    def write(self, folder: Path) -> None:
        """Writes all files."""
        folder.mkdir(parents=True, exist_ok=True)
        self.write_interactions(folder / "interactions.csv")
        self.write_catalogue(folder / "catalogue.csv")
        self.write_answers(folder / "item_answers.jsonl")
        self.write_links(folder / "link_answers.jsonl")

    def write_interactions(self, path: Path, block: int = _BLOCK) -> None:
        """Writes a CSV file with user_id, item_id, rating and timestamp, in no order of time."""
        _write_csv(path, self.interactions, self.rows, block)

    def write_catalogue(self, path: Path, block: int = _BLOCK) -> None:
        """Writes a CSV file with item_id, title, genres and year of every item."""
        _write_csv(path, self.items, self._catalogue_rows, block)

    def write_answers(self, path: Path, block: int = _BLOCK) -> None:
        """Writes prose about items 1, 3, 5, ... as JSON lines."""

        def lines(numbers: np.ndarray) -> pa.Array:
            items = 2 * numbers
            told = np.where(self.is_known(items), self.cluster(items), -1)
            return _records("item", _ids(items), "individual", self.prose("item", items, told))

        _write_lines(path, (self.items + 1) // 2, lines, block)

    def write_links(self, path: Path, block: int = _BLOCK // LINKS) -> None:
        """Writes lists of names, one for each item, as JSON lines."""

        def lines(numbers: np.ndarray) -> pa.Array:
            names = self._linked_names(*self.links(numbers))
            lists = pa.ListArray.from_arrays(
                np.arange(0, len(names) + 1, LINKS, dtype=np.int32), names
            )
            joined = pc.binary_join(lists, r"\", \"")
            answers = pc.binary_join_element_wise(r"{\"links\": [\"", joined, r"\"]}", "")
            return _records("links", _ids(numbers), "individual", answers)

        _write_lines(path, self.items, lines, block)

    def write_group_answers(self, groups: Path, source: str, path: Path) -> None:
        """Writes an answer about every group that the step `group` has made.

        Of items an answer tells the cluster of the group's first item, if that is known; of users,
        the first one's favourite cluster.

        Args:
          groups: `groups.csv`.
          source: name of the source.
          path: JSON lines file.
        """
        table = csv.read_csv(groups).combine_chunks()
        _, first = np.unique(table["group_id"].to_numpy(), return_index=True)
        table = table.take(pa.array(np.sort(first)))
        rows = table[0].to_numpy() - 1
        told = self.favourite(rows)
        if table.column_names[0] == "item_id":
            told = np.where(self.is_known(rows), self.cluster(rows), -1)
        group_ids = table["group_id"].combine_chunks()

        def lines(numbers: np.ndarray) -> pa.Array:
            prose = self.prose(source, rows[numbers], told[numbers])
            return _records(source, group_ids.take(pa.array(numbers)), "collective", prose)

        _write_lines(path, len(rows), lines, _BLOCK)

    def rows(self, numbers: np.ndarray) -> pa.Table:
        """Interactions by their numbers, from 0."""
        users, items = self.pairs(numbers)
        noise = self._normal("noise", numbers)
        rating = np.round(2 * (self._expected_rating(users, items) + _NOISE * noise)) / 2
        seconds = self._uniform("time", numbers) * 5 * _SECONDS_PER_YEAR
        return pa.table(
            {
                "user_id": users + 1,
                "item_id": items + 1,
                "rating": np.clip(rating, 0.5, 5),
                "timestamp": 1_000_000_000 + seconds.astype(np.int64),
            }
        )

    def pairs(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Users and items, from 0, of interactions."""
        users = zipf(self._uniform("user", numbers), self.users, _EXPONENT)
        items = zipf(self._uniform("item", numbers), self.items, _EXPONENT)
        leaves = (self.taste(users, self.cluster(items)) < 0) & (
            self._uniform("loyalty", numbers) < self.loyalty
        )
        rank = items // self.clusters
        instead = self._item(self.favourite(users), rank % self._niches, rank // self._niches)
        return users, np.where(leaves, instead, items)

    def cluster(self, items: np.ndarray) -> np.ndarray:
        """Clusters of items, both from 0; each holds popular and rare ones."""
        return items % self.clusters

    def favourite(self, users: np.ndarray) -> np.ndarray:
        """The cluster that each user surely likes."""
        return (self._uniform("favourite", users) * self.clusters).astype(np.int64)

    def taste(self, users: np.ndarray, clusters: np.ndarray) -> np.ndarray:
        """1 where the user likes the cluster, -1 elsewhere."""
        liked = self._uniform("taste", users * self.clusters + clusters) < 0.5
        return np.where(liked | (self.favourite(users) == clusters), 1.0, -1.0)

    def is_known(self, items: np.ndarray) -> np.ndarray:
        """Whether answers about these items tell their clusters."""
        return self._uniform("known", items) < self.known

    def links(self, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the answers about items name.

        Args:
          items: [n] from 0.

        Returns:
          [n * LINKS] items, each as often as it has links, and the linked ones. Of an item whose
          cluster is known, seven links in ten lead into its niche, two into its cluster and one
          anywhere; of others all lead anywhere. Everywhere popular items are linked more often.
        """
        item = np.repeat(items, LINKS)
        numbers = item * LINKS + np.tile(np.arange(LINKS), len(items))
        level = np.where(self.is_known(item), self._uniform("level", numbers), 1.0)
        niches, places = self._niches, -(-self.items // (self.clusters * self._niches))
        within = zipf(self._uniform("link", numbers), places, _LINK_EXPONENT)
        other_niche = (self._uniform("niche", numbers) * niches).astype(np.int64)
        niche = np.where(level < _LEVELS[0], item // self.clusters % niches, other_niche)
        inside = self._item(self.cluster(item), niche, within)
        anywhere = zipf(self._uniform("link", numbers), self.items, _LINK_EXPONENT)
        return item, np.where(level < _LEVELS[1], inside, anywhere)

    def attainable_auc(self, known: float, draws: int = 200_000) -> float:
        """AUC over the log of the best score that knows tastes only where the cluster is known.

        The score is the chance of four stars or more, given the item's quality, the user's
        generosity and, for a share of the items, the user's taste.

        Args:
          known: that share; 0 is what a model can reach that only knows means.
          draws: interactions that it is computed from.
        """
        from sklearn.metrics import roc_auc_score  # Writing a log does without.

        numbers = np.arange(draws)
        users, items = self.pairs(numbers)
        taste = self.taste(users, self.cluster(items))
        neutral = self._expected_rating(users, items) - _TASTE * taste

        def chance(taste: np.ndarray | float) -> np.ndarray:
            return ndtr((neutral + _TASTE * taste - _LIKED_FROM) / _NOISE)

        likes = (taste > 0).mean()
        unknown = likes * chance(1.0) + (1 - likes) * chance(-1.0)
        score = np.where(self._uniform("known", items) < known, chance(taste), unknown)
        liked = neutral + _TASTE * taste + _NOISE * self._normal("noise", numbers) >= _LIKED_FROM
        return float(roc_auc_score(liked, score))

    def titles(self, items: np.ndarray) -> pa.Array:
        """Three made-up words, the last one often a common one; no two items have the same."""
        words = _words(_TITLE_WORDS)
        first = items % _TITLE_WORDS
        second = (first + items // _TITLE_WORDS) * 1021 % _TITLE_WORDS
        third = zipf(self._uniform("title", items), _TITLE_WORDS, _TITLE_EXPONENT)
        chosen = (pc.utf8_capitalize(words.take(pa.array(column))) for column in (second, third))
        return pc.binary_join_element_wise(
            pc.utf8_capitalize(words.take(pa.array(first))), *chosen, " "
        )

    def prose(self, source: str, numbers: np.ndarray, told: np.ndarray) -> pa.Array:
        """Answers of made-up words.

        Args:
          source: what is asked; each has words of its own about a cluster.
          numbers: [n] of what the answers are about.
          told: [n] clusters that the answers tell, -1 for none. Half of the words tell it.
        """
        cells = numbers[:, np.newaxis] * _WORDS_OF_ANSWER + np.arange(_WORDS_OF_ANSWER)
        drawn = self._uniform(f"word {source}", cells)
        common = (drawn * _COMMON_WORDS).astype(np.int64)
        telling = _COMMON_WORDS + told[:, np.newaxis] * _WORDS_OF_CLUSTER
        telling = telling + (drawn * _WORDS_OF_CLUSTER).astype(np.int64)
        tells = (told[:, np.newaxis] >= 0) & (self._uniform(f"tells {source}", cells) < 0.5)
        words = _words(_COMMON_WORDS + self.clusters * _WORDS_OF_CLUSTER)
        flat = words.take(pa.array(np.where(tells, telling, common).ravel()))
        offsets = np.arange(0, len(flat) + 1, _WORDS_OF_ANSWER, dtype=np.int32)
        return pc.binary_join(pa.ListArray.from_arrays(offsets, flat), " ")

    @property
    def _niches(self) -> int:
        """Number of niches in each cluster."""
        return max(1, self.items // (self.clusters * _NICHE))

    def _item(self, cluster: np.ndarray, niche: np.ndarray, rank: np.ndarray) -> np.ndarray:
        """The item at a place of a niche; where a niche lacks the last place, the one before it."""
        stride = self.clusters * self._niches
        item = (rank * self._niches + niche) * self.clusters + cluster
        return np.where(item < self.items, item, item - stride) % self.items

    def _expected_rating(self, users: np.ndarray, items: np.ndarray) -> np.ndarray:
        return (
            _MEAN
            + _QUALITY * self._normal("quality", items)
            + _GENEROSITY * self._normal("generosity", users)
            + _TASTE * self.taste(users, self.cluster(items))
        )

    def _catalogue_rows(self, numbers: np.ndarray) -> pa.Table:
        draws = self._uniform("genres", numbers) * len(self.genres) ** 2
        first, second = np.divmod(draws.astype(np.int64), len(self.genres))
        is_told = self._uniform("told by genre", numbers) < self.told_by_genre
        first = np.where(is_told, self.cluster(numbers) % len(self.genres), first)
        names = pa.array(self.genres)
        both = pc.binary_join_element_wise(names.take(first), names.take(second), "|")
        return pa.table(
            {
                "item_id": numbers + 1,
                "title": self.titles(numbers),
                "genres": pc.if_else(pa.array(first == second), names.take(first), both),
                "year": 1950 + (self._uniform("year", numbers) * 70).astype(np.int64),
            }
        )

    def _linked_names(self, item: np.ndarray, linked: np.ndarray) -> pa.Array:
        """Titles, a few of them mistyped, and a few of items that are not in the catalogue."""
        chance = self._uniform("name", item * LINKS + np.tile(np.arange(LINKS), len(item) // LINKS))
        outside = (chance >= _MISTYPED) & (chance < _MISTYPED + _OUTSIDE)
        names = self.titles(np.where(outside, self.items + linked, linked))
        mistyped = pc.binary_replace_slice(names.cast(pa.binary()), 9, 10, b"x").cast(pa.string())
        return pc.if_else(pa.array(chance < _MISTYPED), mistyped, names)

    def _uniform(self, purpose: str, numbers: np.ndarray) -> np.ndarray:
        """A number in [0, 1) for each number, in the same shape."""
        start = np.uint64(stable_hash(str(self.seed), purpose))
        return unit_interval(mixed(numbers.astype(np.uint64) + start))

    def _normal(self, purpose: str, numbers: np.ndarray) -> np.ndarray:
        return ndtri(self._uniform(purpose, numbers) + 2.0**-54)


def data_section(folder: Path, history_length: int) -> dict[str, Any]:
    """The section `data` of a scenario over the `interactions.csv` and `catalogue.csv` of a log."""
    return {
        "interactions": {"path": str(folder / "interactions.csv")},
        "catalogue": {
            "path": str(folder / "catalogue.csv"),
            "attributes": {
                "genres": {"kind": "categorical", "separator": "|"},
                "year": {"kind": "numeric"},
            },
        },
        "history_length": history_length,
    }


def zipf(uniform: np.ndarray, size: int, exponent: float) -> np.ndarray:
    """Ranks from 0, by inversion: rank r has the weight of x^-exponent from r + 1 to r + 2.

    Args:
      uniform: numbers in [0, 1).
      size: number of ranks.
      exponent: of Zipf's law, not 1.
    """
    power = 1 - exponent
    drawn = (1 + uniform * ((size + 1) ** power - 1)) ** (1 / power)
    return np.minimum(drawn.astype(np.int64) - 1, size - 1)


_CONSONANTS, _VOWELS = "bdfgklmnprstvz", "aeiou"


@functools.cache
def _words(count: int) -> pa.Array:
    """Distinct made-up words of three syllables, of which neighbours do not look alike."""
    syllables = [consonant + vowel for consonant in _CONSONANTS for vowel in _VOWELS]
    size = len(syllables)
    # 7919 is prime, so that no two numbers meet.
    numbers = np.arange(count) * 7919 % size**3
    parts = [pa.array(syllables).take(pa.array(numbers // size**n % size)) for n in range(3)]
    return pc.binary_join_element_wise(*parts, "")


def _ids(numbers: np.ndarray) -> pa.Array:
    return pc.cast(pa.array(numbers + 1), pa.string())


def _records(source: str, ids: pa.Array, extraction: str, answers: pa.Array) -> pa.Array:
    """JSON objects; the answers are what stands between quotation marks."""
    return pc.binary_join_element_wise(
        f'{{"source": "{source}", "entity_id": "',
        ids,
        f'", "extraction": "{extraction}", "answer": "',
        answers,
        '"}',
        "",
    )


def _blocks(count: int, block: int) -> Iterator[np.ndarray]:
    for start in range(0, count, block):
        yield np.arange(start, min(start + block, count))


def _write_csv(path: Path, count: int, rows: Callable[[np.ndarray], pa.Table], block: int) -> None:
    with csv.CSVWriter(path, rows(np.arange(0)).schema) as writer:
        for numbers in _blocks(count, block):
            writer.write_table(rows(numbers))


def _write_lines(
    path: Path, count: int, lines: Callable[[np.ndarray], pa.Array], block: int
) -> None:
    with path.open("wb") as file:
        for numbers in _blocks(count, block):
            file.write("".join(f"{line}\n" for line in lines(numbers).to_pylist()).encode())


def main(words: list[str] | None = None) -> None:
    """Writes a log."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--interactions", type=int, default=1_000_000)
    parser.add_argument("--users", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--clusters", type=int, default=16, help="of taste")
    parser.add_argument("--known", type=float, default=0.7, help="share of answers that know them")
    parser.add_argument("--seed", type=int, default=1)
    options = vars(parser.parse_args(words))
    SyntheticLog(**{name: options[name] for name in options if name != "folder"}).write(
        options["folder"]
    )


if __name__ == "__main__":
    main()
