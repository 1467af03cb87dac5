from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from tests.examples.evidence import FILMS, RATINGS, USERS


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """MovieLens-1M in small, as it is downloaded, and answers about its films."""
    folder = tmp_path / "source"
    (folder / "answers").mkdir(parents=True)
    rows = [
        # Films come in the order of time, which runs against the order of the lines.
        f"{user}::{(user + place) % FILMS + 1}::{1 + place % 5}::{1000 - place}"
        for user in range(1, USERS + 1)
        for place in range(RATINGS)
    ]
    (folder / "ratings.dat").write_text("\n".join(rows) + "\n")
    films = [f"{film}::Film {film} (1990)::Drama" for film in range(1, FILMS + 1)]
    (folder / "movies.dat").write_text("\n".join(films) + "\n")
    (folder / "users.dat").write_text("1::F::1::10::48067\n")
    links = [
        {
            "custom_id": f"links/{film}",
            "source": "links",
            "entity_id": str(film),
            "extraction": "individual",
            "answer": json.dumps(
                {"links": [f"Film {(film + step) % FILMS + 1}" for step in (1, 2, 3, 4)]}
            ),
        }
        for film in range(1, FILMS + 1)
    ]
    with gzip.open(folder / "answers/item_links.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in links)
    plot = "a slow drama about a lighthouse keeper and two sisters"
    prose = [
        {**record, "source": "prose", "answer": f"Film {record['entity_id']}, {plot}."}
        for record in links
    ]
    with gzip.open(folder / "answers/item_prose.jsonl.gz", "wt") as file:
        file.writelines(json.dumps(record) + "\n" for record in prose)
    return folder
