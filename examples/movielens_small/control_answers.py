"""Texts that are no LLM answers, for runs that ask how much of a lift is the LLM's.

`title_genres.jsonl` says of each movie what the catalogue says. `random_words.jsonl` says nothing:
thirty words drawn at random for each movie, so that its vector is an identity and no knowledge.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from configs.command_line import TeachingParser, add_json_option, run_command, say

_CATALOGUE = Path("examples/movielens_small/movies.csv")
_WORDS = Path("preprocessing/encoders/bert_base_uncased_vocab.txt")
_WORDS_PER_MOVIE = 30


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes both files and returns the exit code."""
    parser = TeachingParser(
        prog="python -m examples.movielens_small.control_answers", description=__doc__
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the two files")
    add_json_option(parser)
    return run_command(_run, parser.parse_args(arguments))


def _run(arguments: argparse.Namespace) -> Mapping[str, object]:
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    with _CATALOGUE.open(newline="", encoding="utf-8") as file:
        movies = list(csv.DictReader(file))
    words = [
        word
        for word in _WORDS.read_text(encoding="utf-8").split()
        if word.isalpha() and len(word) > 3
    ]
    written = {
        "title_genres": _write(
            folder, "title_genres", movies, (_describe(movie) for movie in movies)
        ),
        "random_words": _write(
            folder, "random_words", movies, (_random_words(movie, words) for movie in movies)
        ),
    }
    say(f"{folder}: {len(movies)} texts each in title_genres.jsonl and random_words.jsonl")
    return written


def _describe(movie: Mapping[str, str]) -> str:
    year = f" ({movie['year']})" if movie["year"] else ""
    return f"{movie['title']}{year}. Genres: {movie['genres'].replace('|', ', ')}."


def _random_words(movie: Mapping[str, str], words: Sequence[str]) -> str:
    seed = hashlib.sha256(movie["item_id"].encode()).hexdigest()
    return " ".join(random.Random(seed).choices(words, k=_WORDS_PER_MOVIE))


def _write(
    folder: Path, source: str, movies: Sequence[Mapping[str, str]], texts: Iterable[str]
) -> int:
    path = folder / f"{source}.jsonl"
    unfinished = path.with_name(f".{path.name}.unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        for movie, text in zip(movies, texts, strict=True):
            record = {
                "custom_id": f"{source}/{movie['item_id']}",
                "source": source,
                "entity_id": movie["item_id"],
                "extraction": "individual",
                "model": "none",
                "answer": text,
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    unfinished.rename(path)
    return len(movies)


if __name__ == "__main__":
    sys.exit(main())
