"""`encode` killed in the middle: the same files as without a kill, and no text paid for twice."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from tests.killing import Command, checksums
from tests.preprocessing.encoders.embeddings_server import (
    EmbeddingsCall,
    embeddings,
    embeddings_server,
)
from tests.preprocessing.generation.chat_server import Reply
from tests.preprocessing.small_data import CATALOGUE, INTERACTIONS, write_lines

BATCH = 3
ENCODE = ["preprocessing", "encode", "--config", "scenario.yaml"]


def prepare(folder: Path, url: str) -> None:
    """An empty folder with a scenario of 60 answers, relative paths throughout."""
    folder.mkdir()
    (folder / "interactions.csv").write_text(INTERACTIONS)
    (folder / "catalogue.csv").write_text(CATALOGUE)
    plain = {"source": "item", "extraction": "individual"}
    write_lines(
        folder / "answers.jsonl",
        [
            {**plain, "entity_id": str(number), "answer": f"film number {number % 50}"}
            for number in range(60)
        ],
    )
    scenario = {
        "name": "killed",
        "work_dir": "work",
        "data": {
            "interactions": {"path": "interactions.csv"},
            "catalogue": {"path": "catalogue.csv"},
        },
        "knowledge": {
            "sources": ["item"],
            "answers": {"item": {"entity": "item", "individual": ["answers.jsonl"]}},
            "encoder": {"kind": "endpoint", "model": "toy", "base_url": url, "batch_size": BATCH},
        },
    }
    (folder / "scenario.yaml").write_text(yaml.safe_dump(scenario))


def slowly(call: EmbeddingsCall) -> Reply:
    return replace(embeddings(call), delay=0.15)


@pytest.mark.slow
def test_a_killed_run_goes_on_where_it_was(repository_root: Path, tmp_path: Path) -> None:
    with embeddings_server(slowly) as server:
        for name in ("undisturbed", "disturbed"):
            prepare(tmp_path / name, server.url)
        Command(repository_root, tmp_path / "undisturbed").run(ENCODE)
        assert set(server.texts.values()) == {1} and len(server.texts) == 50
        server.texts.clear()

        disturbed = tmp_path / "disturbed"
        command = Command(repository_root, disturbed)
        kills = 0
        for kept in (2, 5, 9):

            def begun(enough: int = kept) -> bool:
                return len(list(disturbed.glob("work/encoded_texts/*/*.parquet"))) >= enough

            kills += command.run_killed(ENCODE, begun, delay=0.05)
        assert kills == 3
        assert not (disturbed / "work" / "knowledge" / "item").exists()
        command.run(ENCODE)
        paid_again = sum(count - 1 for count in server.texts.values())
    assert len(server.texts) == 50
    assert paid_again <= kills * BATCH  # the calls in flight
    expected = checksums(tmp_path / "undisturbed" / "work" / "knowledge")
    assert checksums(disturbed / "work" / "knowledge") == expected
    assert "item/manifest.json" in expected
