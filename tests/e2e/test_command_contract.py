"""What users and programs rely on: options, keys of `--json`, files that a job leaves, exit codes.

Where a change of them is meant, write the file anew and review its difference:

    REKI_WRITE_CONTRACT=1 python -m pytest -p no:xdist tests/e2e/test_command_contract.py
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import configs.__main__
import preprocessing.__main__
import serving.__main__
import trainer.__main__
from serving.server import LocalServer
from tests.scenarios import write_tiny_inputs

CONTRACT = Path(__file__).with_name("command_contract.json")
WRITES = bool(os.environ.get("REKI_WRITE_CONTRACT"))
PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "preprocessing": preprocessing.__main__.main,
    "trainer": trainer.__main__.main,
    "serving": serving.__main__.main,
    "configs": configs.__main__.main,
}


def run(program: str, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = PROGRAMS[program](list(words))
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue(), err.getvalue()


def contract(part: str, now: Any) -> Any:
    """What the contract says of a part; written first where that is asked for."""
    whole = json.loads(CONTRACT.read_text(encoding="utf-8")) if CONTRACT.exists() else {}
    if WRITES:
        whole[part] = now
        CONTRACT.write_text(json.dumps(whole, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return whole[part]


def commands_of(program: str) -> list[str]:
    _, out, _ = run(program, "--help")
    listed = out.split("COMMAND\n")[-1]
    return re.findall(r"^ {4}([a-z]+)\b", listed, flags=re.MULTILINE)


@pytest.mark.parametrize("program", PROGRAMS)
def test_options_of_every_command(program: str) -> None:
    options = {}
    for command in commands_of(program):
        code, out, _ = run(program, command, "--help")
        assert code == 0
        options[command] = sorted(set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", out)))
    assert options == contract(f"options of {program}", options)


@pytest.mark.parametrize(
    ("program", "words", "code"),
    [
        ("preprocessing", ["nothing"], 2),
        ("configs", ["show", "--config", "absent.yaml"], 2),
        ("preprocessing", ["examples"], 2),
        ("preprocessing", ["examples", "--config", "absent.yaml"], 2),
        ("preprocessing", ["import", "--source", "item", "--out", "{tmp}/out", "absent"], 2),
        ("preprocessing", ["import", "--source", "item", "--out", "{tmp}/out", "{broken}"], 1),
        ("trainer", ["train", "--config", "configs/movielens_small.yaml", "model.bakbone=din"], 2),
        ("trainer", ["evaluate", "absent"], 2),
        ("trainer", ["compare", "absent", "{tmp}"], 2),
        ("preprocessing", ["inspect", "absent"], 2),
        ("preprocessing", ["validate", "absent"], 2),
        ("serving", ["export", "absent", "--out", "{tmp}/out"], 2),
        ("serving", ["serve", "--model", "films=absent"], 2),
        ("serving", ["refresh", "--model", "absent", "--answers", "absent"], 2),
        ("serving", ["serve", "--model", "films"], 2),
    ],
)
def test_exit_codes(program: str, words: list[str], code: int, tmp_path: Path) -> None:
    broken = tmp_path / "broken.klg"
    broken.write_text('{"1": {"prompt": "x", "ans')
    filled = [word.format(tmp=tmp_path, broken=broken) for word in words]
    given, _, err = run(program, *filled)
    assert (given, "Traceback" in err) == (code, False), err


SCENARIO = ("--config", "scenario.yaml", "--json")
RUN = "work/runs/ridge"
JOB = {
    "preprocessing group": SCENARIO,
    "preprocessing prompts": (*SCENARIO, "--source", "item"),
    "preprocessing generate": (
        *("--prompts", "work/prompts/prompts.jsonl", "--out", "answers/item", "--json"),
        *("--client", "replay", "--replay", "replay.jsonl"),
    ),
    "preprocessing import": (
        *("--source", "user", "--out", "answers/user", "user_answers.jsonl", "--json"),
    ),
    "preprocessing validate answers": ("answers/item/answers.jsonl", "--json"),
    "preprocessing link": SCENARIO,
    "preprocessing encode": SCENARIO,
    "preprocessing examples": SCENARIO,
    "preprocessing inspect": ("work", "--json"),
    "preprocessing validate": ("work", "--json"),
    "trainer train": (*SCENARIO, f"run_dir={RUN}", "model.match=ridge", "training.epochs=1"),
    "trainer evaluate": (
        *(RUN, "--slices", "all", "--report", "evaluation", "--json"),
        *("--predictions", "evaluation/scores.parquet"),
    ),
    "trainer tune": (
        *(*SCENARIO, "--trials", "1", "--out", "tuning", "model.adapter=none"),
        *("training.epochs=1", "training.learning_rate=log:1e-3..1e-1"),
    ),
    "trainer compare": ("tuning/trial0001", RUN, "--json"),
    "trainer experiment": (*SCENARIO, "--dry-run"),
    "serving export": (RUN, "--out", "export", "--proof", "quick", "--json"),
    "serving predict": ("--request", "request.json", "--timeout-seconds", "120", "--json"),
    "serving loadtest": (
        *("--examples", "work", "--rate", "20", "--seconds", "0.3", "--warmup-seconds", "0.1"),
        *("--candidates", "1", "--timeout-seconds", "120", "--out", "load", "--json"),
    ),
    "serving refresh": ("--model", "export", "--answers", "new_answers.jsonl", "--json"),
    "serving deploy": ("--config", "deployment.yaml", "--out", "deploy", "--json"),
}
"""The commands of a whole job, in order; those that ask a server get its address."""


def write_lines(path: str, records: list[dict[str, Any]]) -> None:
    Path(path).write_text("".join(json.dumps(record) + "\n" for record in records))


def write_inputs(repository: Path) -> None:
    """A scenario whose answers the job itself asks for, imports and links."""
    tree = yaml.safe_load(write_tiny_inputs(Path()).read_text(encoding="utf-8"))
    tree["prompts"] = {"scenario": "movies"}
    tree["knowledge"]["answers"] |= {
        "item": {
            "entity": "item",
            "individual": ["answers/item/answers.jsonl"],
            "grouping": {"maximum_size": 12},
        },
        "links": {"entity": "item", "individual": ["links.jsonl"], "links": {}},
    }
    tree["knowledge"]["answers"]["user"]["individual"] = ["answers/user/answers.jsonl"]
    Path("scenario.yaml").write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    shutil.copy(repository / "serving/deploy/example.yaml", "deployment.yaml")
    answer = {"entity_id": "1", "extraction": "individual"}
    names = json.dumps(["Film 2", "Film 3", "Casablanca (1942)"])
    write_lines("links.jsonl", [{**answer, "source": "links", "answer": names}])
    new = {**answer, "source": "item", "answer": "A quiet story of grief, family and silence."}
    write_lines("new_answers.jsonl", [new])
    request = {
        **{"user_id": "u1", "candidates": ["1", "2", "3"]},
        **{"history_item_id": ["4", "5"], "history_rating": [5.0, 2.0]},
    }
    Path("request.json").write_text(json.dumps(request))


def write_replayed_answers() -> None:
    """What an LLM would answer to the prompts."""
    prompts = Path("work/prompts/prompts.jsonl").read_text(encoding="utf-8").splitlines()
    write_lines(
        "replay.jsonl",
        [
            {**json.loads(prompt), "answer": f"A tale of {number} duels.", "model": "replayed"}
            for number, prompt in enumerate(prompts)
        ],
    )


def keys_of(result: dict[str, Any]) -> list[str]:
    """The keys of a result and of the objects in it, those of a list's entries together."""
    keys = set(result)
    for key, value in result.items():
        for inner in value if isinstance(value, list) else [value]:
            keys |= {f"{key}.{name}" for name in inner} if isinstance(inner, dict) else set()
    return sorted(keys)


@pytest.fixture(scope="module")
def job(
    repository_root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, list[str]], list[str]]]:
    """Keys of the results of every command, and the files that the job leaves behind."""
    folder = tmp_path_factory.mktemp("job")
    keys = {}
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        patch.chdir(folder)
        write_inputs(repository_root)
        before = set(folder.rglob("*"))
        for command, words in JOB.items():
            program, name, *_ = command.split()
            if name == "generate":
                write_replayed_answers()
            if name in ("predict", "loadtest"):
                server = stack.enter_context(LocalServer({"films": Path("export")}))
                target = f"grpc://127.0.0.1:{server.grpc_port}"
                words = ("--target", target, "--model", "films", *words)
            code, out, err = run(program, name, *words)
            assert code == 0, (command, err)
            keys[command] = keys_of(json.loads(out))
        files = {
            # The number of shards is that of the machine's processors.
            re.sub(r"part-\d+-of-\d+", "part-*", path.relative_to(folder).as_posix())
            for path in folder.rglob("*")
            if path.is_file() and path not in before
        }
    yield keys, sorted(files)
    shutil.rmtree(folder)


def test_keys_of_the_results_of_a_whole_job(job: tuple[dict[str, list[str]], list[str]]) -> None:
    keys, _ = job
    assert keys == contract("keys of results", keys)


def test_files_that_a_whole_job_leaves(job: tuple[dict[str, list[str]], list[str]]) -> None:
    _, files = job
    assert files == contract("files of a whole job", files)
