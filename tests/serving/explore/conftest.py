"""A session over the tiny scenario with links: three runs with random weights beside each other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from configs.scenario import Scenario
from preprocessing.encode import encode
from serving.explore.app import explorer_app
from serving.explore.session import Session
from tests.runs import write_run
from tests.scenarios import ITEMS, tiny_scenario

HTML = "<script>alert('x')</script>"
LINKS = {
    "1": ["Film 2", "Film 3", "Film 2", "Film 99"],
    "2": ["Film 1", "Film 99", HTML],
    "3": ["Film 1", "Film 4"],
    **{item: [f"Film {int(item) % 50 + 1}", f"Film {int(item) % 47 + 2}"] for item in ITEMS[3:45]},
}
"""Item -> names in its answer; "Film 99" is in no catalogue."""


@pytest.fixture(scope="session")
def linked_scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The tiny scenario over a copy of its work directory that has links as well."""
    folder = tmp_path_factory.mktemp("explored")
    ignored = shutil.ignore_patterns("runs", "export")
    shutil.copytree(tiny_scenario().work_dir, folder / "work", ignore=ignored)
    lines = [
        json.dumps(
            {
                "source": "links",
                "entity_id": item,
                "extraction": "individual",
                "answer": json.dumps({"links": names}),
                "prompt": f"What goes with Film {item}?",
            }
        )
        for item, names in LINKS.items()
    ]
    answers = folder / "links.jsonl"
    answers.write_text("\n".join(lines) + "\n", encoding="utf-8")
    source = {"entity": "item", "individual": [str(answers)], "links": {"dimension": 6}}
    scenario = tiny_scenario(work_dir=str(folder / "work"), knowledge__answers__links=source)
    encode(scenario, sources=["links"])
    return scenario


@pytest.fixture(scope="session")
def runs(linked_scenario: Scenario) -> dict[str, Path]:
    """Run folders: none, without knowledge; ridge and means, with a match."""
    arms: dict[str, dict[str, object]] = {
        "none": {"adapter": "none", "match": "none"},
        "means": {"adapter": "none", "match": "means"},
        "ridge": {"adapter": "none", "match": "ridge"},
    }
    folders = {}
    for seed, (name, settings) in enumerate(arms.items(), start=1):
        folders[name] = Path(linked_scenario.work_dir) / "runs" / name
        model = linked_scenario.model.model_copy(
            update={
                **settings,
                "knowledge_match": linked_scenario.model.knowledge_match.model_copy(
                    update={"sources": ("item", "links")}
                ),
            }
        )
        scenario = linked_scenario.model_copy(
            update={"model": model, "run_dir": str(folders[name])}
        )
        write_run(scenario, seed)
    return folders


@pytest.fixture(scope="session")
def session(runs: dict[str, Path]) -> Session:
    compared = [runs["none"], runs["means"]]
    return Session.open(runs["ridge"], compared, None, "validation")


@pytest.fixture(scope="session")
def browser(session: Session) -> Iterator[TestClient]:
    with TestClient(explorer_app(session, "127.0.0.1"), "http://127.0.0.1:8600") as client:
        yield client
