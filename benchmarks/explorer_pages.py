"""Time and processor time of the explorer's pages, after each was asked for a few times.

python -m benchmarks.explorer_pages RUN --compare RUN_WITHOUT_KNOWLEDGE

Requests go to the application itself, without a network; which items and users are asked for
follows from the seed.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from starlette.testclient import TestClient

from benchmarks.measuring import print_measure
from serving.explore.app import explorer_app
from serving.explore.session import Session

_PAGES = {
    "item": "/item?id={item}",
    "user": "/user?id={user}",
    "search": "/search?q={letter}",
    "map": "/map",
    "quality": "/quality",
    "moved": "/moved",
    "ranking": "/ranking?user={user}",
    "ranking_of_all": "/ranking?user={user}&candidates=all",
}
_BEFORE = 3


def main(words: Sequence[str] | None = None) -> None:
    """Prints one JSON line for each page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--compare", type=Path, nargs="+", default=[])
    parser.add_argument("--requests", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(words)
    session = Session.open(arguments.run, arguments.compare, None, "validation")
    rng = np.random.default_rng(arguments.seed)
    items, users = session.data.items.ids, session.samples.users
    with TestClient(explorer_app(session, "127.0.0.1"), "http://127.0.0.1") as client:
        for page, address in _PAGES.items():
            seconds, processor = [], 0.0
            for request in range(_BEFORE + arguments.requests):
                asked = address.format(
                    item=items[rng.integers(len(items))],
                    user=users[rng.integers(len(users))],
                    letter="abcdefghijklmnopqrstuvwxyz"[rng.integers(26)],
                )
                start, used = time.perf_counter(), time.process_time()
                response = client.get(asked)
                if request >= _BEFORE:
                    seconds.append(time.perf_counter() - start)
                    processor += time.process_time() - used
                if response.is_error:
                    raise SystemExit(f"{asked}: {response.status_code}")
            print_measure(
                "explorer_pages",
                page=page,
                items=len(items),
                models=len(session.rankers),
                requests=arguments.requests,
                p50_ms=round(1000 * float(np.quantile(seconds, 0.5)), 1),
                p95_ms=round(1000 * float(np.quantile(seconds, 0.95)), 1),
                processor_ms=round(1000 * processor / arguments.requests, 1),
            )


if __name__ == "__main__":
    main()
