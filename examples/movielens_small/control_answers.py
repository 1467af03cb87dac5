"""Texts for runs that ask how much of a lift is the LLM's.

`random_words.jsonl` says nothing: thirty words drawn at random for each movie, so that its vector
is an identity and no knowledge.
`item_individual.jsonl` and `item_collective.jsonl` hold the bundled LLM answers about single movies
and about groups of them, each under a name of their own, for runs with one kind only.
`links_shuffled.jsonl` gives each movie the list of names of another one, drawn at random: the same
graph, of other movies. In `links_random.jsonl` all names of all lists are drawn anew: each movie
names as many others, and is named as often, as before, and the graph is a random one.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import json
import random
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from configs.command_line import TeachingParser, add_json_option, run_command, say
from configs.files import replaced_when_complete
from preprocessing.records.contract import EXTRACTIONS

_CATALOGUE = Path("examples/movielens_small/movies.csv")
_WORDS = Path("preprocessing/encoders/bert_base_uncased_vocab.txt")
_WORDS_PER_MOVIE = 30
_SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the files and returns the exit code."""
    parser = TeachingParser(
        prog="python -m examples.movielens_small.control_answers", description=__doc__
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the files")
    add_json_option(parser)
    return run_command(_run, parser.parse_args(arguments))


def _run(arguments: argparse.Namespace) -> Mapping[str, object]:
    folder = Path(arguments.out)
    folder.mkdir(parents=True, exist_ok=True)
    with _CATALOGUE.open(newline="", encoding="utf-8") as file:
        movie_ids = [movie["item_id"] for movie in csv.DictReader(file)]
    words = [
        word
        for word in _WORDS.read_text(encoding="utf-8").split()
        if word.isalpha() and len(word) > 3
    ]
    random_texts = [_random_words(movie_id, words) for movie_id in movie_ids]
    movies, lists = _lists_of_links()
    written = {
        "random_words": write_answers(
            folder, "random_words", "individual", movie_ids, random_texts
        ),
        **{
            f"item_{extraction}": write_renamed(folder, f"item_{extraction}", extraction)
            for extraction in EXTRACTIONS
        },
        "links_shuffled": _write_links(folder, "links_shuffled", movies, shuffled_lists(lists)),
        "links_random": _write_links(folder, "links_random", movies, dealt_anew(lists)),
    }
    for source, count in written.items():
        say(f"{folder / source}.jsonl: {count} texts")
    return written


def _random_words(movie_id: str, words: Sequence[str]) -> str:
    seed = hashlib.sha256(movie_id.encode()).hexdigest()
    return " ".join(random.Random(seed).choices(words, k=_WORDS_PER_MOVIE))


def _bundled_answers(source: str) -> Path:
    """The file of bundled LLM answers of a name."""
    return Path("examples/movielens_small/answers") / f"{source}.jsonl.gz"


def write_renamed(folder: Path, source: str, extraction: str) -> int:
    """Writes bundled answers of one extraction as a source of the name of their file."""
    with gzip.open(_bundled_answers(source), "rt", encoding="utf-8") as file:
        answers = [json.loads(line) for line in file]
    ids = [answer["entity_id"] for answer in answers]
    return write_answers(folder, source, extraction, ids, (answer["answer"] for answer in answers))


def _lists_of_links() -> tuple[list[str], list[list[str]]]:
    """Movies, and the names that the LLM lists for each."""
    with gzip.open(_bundled_answers("item_links"), "rt", encoding="utf-8") as file:
        answers = [json.loads(line) for line in file]
    lists = [json.loads(answer["answer"])["links"] for answer in answers]
    return [answer["entity_id"] for answer in answers], lists


def shuffled_lists(lists: Sequence[list[str]]) -> list[list[str]]:
    """Each list in the place of another: the same graph, of other movies."""
    return random.Random(_SEED).sample(lists, k=len(lists))


def dealt_anew(lists: Sequence[list[str]]) -> list[list[str]]:
    """All names dealt anew to lists of the same lengths: a random graph with the same degrees."""
    names = [name for listed in lists for name in listed]
    random.Random(_SEED).shuffle(names)
    dealt = iter(names)
    return [[next(dealt) for _ in listed] for listed in lists]


def _write_links(
    folder: Path, source: str, movies: Sequence[str], lists: Iterable[list[str]]
) -> int:
    texts = (json.dumps({"links": names}, ensure_ascii=False) for names in lists)
    return write_answers(folder, source, "individual", movies, texts)


def write_answers(
    folder: Path, source: str, extraction: str, ids: Sequence[str], texts: Iterable[str]
) -> int:
    """Writes answers as a file `<source>.jsonl` of the folder; returns how many there are.

    Args:
      folder: where the file belongs.
      source: of the answers.
      extraction: "individual" or "collective".
      ids: of items, or of groups.
      texts: what the answers say, as many.
    """
    path = folder / f"{source}.jsonl"
    with replaced_when_complete(path) as partial, partial.open("w", encoding="utf-8") as file:
        for entity_id, text in zip(ids, texts, strict=True):
            group = "group/" if extraction == "collective" else ""
            record = {
                "custom_id": f"{source}/{group}{entity_id}",
                "source": source,
                "entity_id": entity_id,
                "extraction": extraction,
                "answer": text,
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")
    return len(ids)


if __name__ == "__main__":
    sys.exit(main())
