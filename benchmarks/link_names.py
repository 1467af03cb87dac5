"""Time and memory of finding names in a catalogue, on made titles.

python -m benchmarks.link_names --titles 1000000 --names 1000000

Titles are two to five words out of 60,000, the common ones more often (Zipf), with a year; one in
ten has a title in brackets. Of the names one in two is a title, one in six a mistyped one, and the
others are none.
"""

from __future__ import annotations

import argparse
import json
import resource
import time

import numpy as np
import pyarrow as pa

from preprocessing.links.titles import NEAR, TitleIndex

_WORDS = 60_000
_LETTERS = np.array(list("aaabcdeeeefghiiijklmnoooprrsssttttuvwy"))


def made_titles(count: int, words: np.ndarray, rng: np.random.Generator) -> list[str]:
    """Titles without years."""
    chances = 1 / np.arange(10, len(words) + 10)
    sizes = rng.integers(2, 6, count)
    drawn = iter(words[rng.choice(len(words), sizes.sum(), p=chances / chances.sum())].tolist())
    return [" ".join(next(drawn) for _ in range(size)).title() for size in sizes.tolist()]


def made_names(titles: list[str], count: int, words: np.ndarray, rng: np.random.Generator) -> list:
    """Names: titles, mistyped titles, and others."""
    kinds = rng.integers(0, 6, count)
    rows = rng.integers(0, len(titles), count)
    others = iter(made_titles(int((kinds > 3).sum()), words, rng))
    names = []
    for kind, row in zip(kinds.tolist(), rows.tolist(), strict=True):
        name = titles[row]
        if kind > 3:
            name = next(others)
        elif kind == 3:
            middle = len(name) // 2
            name = name[:middle] + "q" + name[middle + 1 :]
        names.append(name)
    return list(dict.fromkeys(names))


def main() -> None:
    """Prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--titles", type=int, default=100_000)
    parser.add_argument("--names", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    words = np.unique(["".join(rng.choice(_LETTERS, rng.integers(3, 10))) for _ in range(_WORDS)])
    rng.shuffle(words)
    plain = made_titles(arguments.titles, words, rng)
    years = rng.integers(1930, 2020, len(plain)).tolist()
    titles = [f"{title} ({year})" for title, year in zip(plain, years, strict=True)]
    names = made_names(plain, arguments.names, words, rng)
    result: dict[str, object] = {"titles": len(titles), "distinct_names": len(names)}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for step in ("index", "find"):
        wall, processor = time.monotonic(), time.process_time()
        if step == "index":
            index = TitleIndex(pa.array(titles))
        else:
            matches = index.find(pa.array(names), 1, 94.0)
        result[step] = {
            "seconds": round(time.monotonic() - wall, 1),
            "processor_seconds": round(time.process_time() - processor, 1),
        }
    result["names_found"] = len(np.unique(matches.name))
    result["nearly"] = len(np.unique(matches.name[matches.how == NEAR]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    result["peak_gigabytes"] = {"before": round(before / 1e6, 2), "after": round(peak / 1e6, 2)}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
