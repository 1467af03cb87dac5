"""A small catalogue with answers that name films, and prose about films."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from configs.loading import scenario_from_tree
from configs.scenario import Scenario

CATALOGUE = """item_id,title,year
1,Sabrina,1954
2,Sabrina,1995
3,"Matrix, The",1999
4,Seven (a.k.a. Se7en),1995
5,"Apartment, The",1960
6,Notting Hill,1999
7,Zodiac,2007
8,,2000
"""
LOG = "user_id,item_id,rating,timestamp\n" + "\n".join(
    f"u{number},{item},4,{number}"
    for item, rows in {"1": 12, "3": 3, "5": 100}.items()
    for number in range(rows)
)


def answer(item: str, names: Any, source: str = "links") -> dict[str, Any]:
    listed = names if isinstance(names, dict) else {"links": names}
    text = names if isinstance(names, str) else json.dumps(listed)
    return {"source": source, "entity_id": item, "extraction": "individual", "answer": text}


ANSWERS = [
    # the nearest in year; the item itself; twice the same; unknown to the catalogue
    answer("5", ["Sabrina", "The Apartment", "sabrina (1954)", "Charade"]),
    answer("6", ["Sabrina", "Charade (1963)", "The Matrix", "Se7en", "!?"]),
    answer("7", ["x" * 10_000, 7, "Seven", "Sabrina", "The Game"]),  # 1995 is nearest to 2007
    answer("2", ["Sabrina"]),  # the other one
    answer("8", ["Sabrina (1970)"]),  # neither
    answer("99", ["Sabrina", "Sabrina", "The Matrix"]),  # of no known year: it is either
]
USERS = [
    # in both lists; a film of two; more than are read; nothing of it known, with another's
    answer("ann", {"liked": ["The Matrix", "Se7en", "Charade"], "disliked": ["matrix", "N/A"]}),
    answer("bob", {"liked": ["Zodiac", "Sabrina", "Heat", "Seven"], "disliked": ["Notting Hill"]}),
    answer("eve", {"disliked": ["Charade (1963)", "I am sorry, I do not know this user"]}),
    answer("joe", {"liked": [], "disliked": "Zodiac"}),
]
BAD = [
    (answer("1", "I would watch Charade."), "no_list"),
    (answer("1", []), "no_list"),
    (answer("1", '{"links": "Charade"}'), "no_list"),
    (answer("5", ["The Matrix"]), "duplicate_entity"),
]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "catalogue.csv").write_text(CATALOGUE, encoding="utf-8")
    (tmp_path / "log.csv").write_text(LOG, encoding="utf-8")
    write_answers(tmp_path / "links.jsonl", [*ANSWERS, *(line for line, _ in BAD)])
    return tmp_path


def write_answers(path: Path, answers: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line) + "\n" for line in answers), encoding="utf-8")


@pytest.fixture
def scenario(folder: Path) -> Callable[..., Scenario]:
    """Makes a scenario; dotted keys set options."""

    def made(**assignments: object) -> Scenario:
        catalogue = {"path": "catalogue.csv", "attributes": {"year": {"kind": "numeric"}}}
        answers = {
            "links": {"entity": "item", "individual": ["links.jsonl"], "links": {}},
            "item": {"entity": "item", "individual": ["prose.jsonl"]},
        }
        tree = {
            "name": "films",
            "work_dir": "work",
            "data": {"interactions": {"path": "log.csv"}, "catalogue": catalogue},
            "knowledge": {"sources": ["item"], "answers": answers},
            "model": {"adapter": "none"},
        }
        dotted = {key.replace("__", "."): value for key, value in assignments.items()}
        return scenario_from_tree(tree, dotted)

    return made
