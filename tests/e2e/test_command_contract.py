"""What users and programs rely on: options, exit codes, `--json` keys and files of every command.

A whole job runs on the tiny scenario, command by command, and is held to command_contract.json.
Where a change of the contract is meant, write the file anew and review its difference:

    REKI_WRITE_CONTRACT=1 python -m pytest -p no:xdist tests/e2e/test_command_contract.py
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import preprocessing.__main__
import serving.__main__
import trainer.__main__
from serving.server import LocalServer
from tests.scenarios import GENRES, ITEMS, write_tiny_inputs

CONTRACT = Path(__file__).with_name("command_contract.json")
WRITES = bool(os.environ.get("REKI_WRITE_CONTRACT"))
PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "preprocessing": preprocessing.__main__.main,
    "trainer": trainer.__main__.main,
    "serving": serving.__main__.main,
}
CHOICES_LIMIT = 40
"""Dictionaries with more keys than this are tables of data; only their values' form is kept."""


def run(program: str, *words: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = PROGRAMS[program](list(words))
        except SystemExit as stop:
            code = int(stop.code or 0)
    return code, out.getvalue(), err.getvalue()


def form_of(value: Any) -> Any:
    """A JSON value without its figures: the tree of its keys, each leaf the name of its type."""
    if isinstance(value, dict):
        if len(value) > CHOICES_LIMIT:
            return {"*": merged([form_of(each) for each in value.values()])}
        return {key: form_of(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [merged([form_of(each) for each in value])] if value else []
    if isinstance(value, bool) or value is None:
        return type(value).__name__
    return "number" if isinstance(value, (int, float)) else "str"


def merged(forms: list[Any]) -> Any:
    """One form for values of several; those that differ are listed."""
    distinct = sorted({json.dumps(form, sort_keys=True) for form in forms})
    return json.loads(distinct[0]) if len(distinct) == 1 else [json.loads(x) for x in distinct]


def files_below(folder: Path) -> list[str]:
    """Names of files below a folder, with numbers in the place of digits that vary."""
    names = {
        re.sub(r"(\.[0-9]+)(?=\.host|$)", ".N", path.relative_to(folder).as_posix())
        for path in folder.rglob("*")
        if path.is_file()
    }
    return sorted(names)


class Job:
    """The commands of a whole job, in order, over one folder."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.record: dict[str, Any] = {}

    def run(self, name: str, program: str, *words: str, code: int = 0) -> dict[str, Any]:
        """Runs a command with `--json` and records its exit code and the form of its result."""
        given, out, err = run(program, *words, "--json")
        assert given == code, f"{name}: exit code {given}\n{err[-3000:]}"
        assert "Traceback" not in err
        result = json.loads(out) if out else None
        shown = json.loads(json.dumps(result).replace(str(self.folder), "FOLDER"))
        self.record[name] = {"exit_code": given, "json": form_of(shown)}
        return result or {}

    def files(self, name: str, folder: Path) -> None:
        """Records which files a command has left in a folder."""
        self.record[name]["files"] = files_below(folder)


def collective_config(config: Path) -> Path:
    """The tiny scenario before any answer: groups are built, prompts written, nothing encoded."""
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    tree["work_dir"] = str(config.parent / "asking")
    tree["prompts"] = {"scenario": "movies"}
    path = config.with_name("asking.yaml")
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


def user_request(folder: Path) -> Path:
    """A request as people write it, from the first ratings of one user."""
    with (folder / "ratings.csv").open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["user_id"] == "u2"][:5]
    request = {
        "user_id": "u2",
        "history_item_id": [row["item_id"] for row in rows],
        "history_rating": [float(row["rating"]) for row in rows],
        "candidates": list(ITEMS[:8]),
    }
    path = folder / "user.json"
    path.write_text(json.dumps(request), encoding="utf-8")
    return path


def replayed_answers(folder: Path, prompts: Path) -> Path:
    """Answers to the first prompts, for `generate --client replay`."""
    lines = prompts.read_text(encoding="utf-8").splitlines()[:3]
    path = folder / "replay.jsonl"
    words = f"films of {' and '.join(GENRES)} with horses, jokes and grief, loved by many. "
    with path.open("w", encoding="utf-8") as file:
        for number, line in enumerate(lines):
            answer = f"Number {number}: {words * 3}"
            file.write(json.dumps({**json.loads(line), "answer": answer}) + "\n")
    return path


def preprocessing_job(job: Job, config: Path) -> None:
    folder = job.folder
    asking = collective_config(config)
    work = folder / "asking"
    job.run("group", "preprocessing", "group", "--config", str(asking))
    job.files("group", work)
    job.run("prompts --dry-run", "preprocessing", "prompts", "--config", str(asking), "--dry-run")
    job.run("prompts", "preprocessing", "prompts", "--config", str(asking))
    job.files("prompts", work)
    prompts = work / "prompts" / "prompts.jsonl"
    replay = replayed_answers(folder, prompts)
    generate = [
        "generate",
        "--prompts",
        str(prompts),
        "--client",
        "replay",
        "--replay",
        str(replay),
    ]
    generate += ["--out", str(folder / "generated")]
    job.run("generate --dry-run", "preprocessing", *generate, "--dry-run")
    job.run("generate", "preprocessing", *generate)
    job.files("generate", folder / "generated")
    answers = str(folder / "item_answers.jsonl")
    importing = ["import", "--source", "item", "--out", str(folder / "imported"), answers]
    job.run("import", "preprocessing", *importing)
    job.files("import", folder / "imported")
    job.run("import --strict", "preprocessing", *importing, "--strict", code=3)
    job.run("inspect FILE", "preprocessing", "inspect", answers)
    job.run("validate FILE", "preprocessing", "validate", answers)
    scenario = ["--config", str(config)]
    job.run("all --dry-run", "preprocessing", "all", *scenario, "--dry-run")
    job.run("encode --dry-run", "preprocessing", "encode", *scenario, "--dry-run")
    job.run("encode", "preprocessing", "encode", *scenario)
    job.run("examples --dry-run", "preprocessing", "examples", *scenario, "--dry-run")
    job.run("examples", "preprocessing", "examples", *scenario)
    job.run("all", "preprocessing", "all", *scenario)
    job.files("all", folder / "work")
    for step in ("examples", "knowledge/item"):
        manifest = json.loads((folder / "work" / step / "manifest.json").read_text("utf-8"))
        shown = json.dumps(manifest).replace(str(folder), "FOLDER")
        job.record["all"][f"{step}/manifest.json"] = form_of(json.loads(shown))
    job.run("examples --strict", "preprocessing", "examples", *scenario, "--strict", code=3)
    job.run("inspect FOLDER", "preprocessing", "inspect", str(folder / "work"))
    job.run("validate FOLDER", "preprocessing", "validate", str(folder / "work"))


def trainer_job(job: Job, config: Path) -> str:
    folder, scenario = job.folder, ["--config", str(config)]
    none = job.run("train", "trainer", "train", *scenario, "model.adapter=none")["run"]
    with_knowledge = ["train", *scenario, "model.match=ridge"]
    ridge = job.run("train with knowledge", "trainer", *with_knowledge)["run"]
    job.files("train with knowledge", Path(ridge))
    predictions = ["--predictions", str(folder / "scores.parquet")]
    report = ["--slices", "all", "--report", str(folder / "evaluation")]
    job.run("evaluate", "trainer", "evaluate", ridge, "--part", "test", *predictions)
    job.run("evaluate --slices", "trainer", "evaluate", ridge, *report)
    job.files("evaluate --slices", folder / "evaluation")
    job.run("compare", "trainer", "compare", none, ridge)
    short = ["training.epochs=1", "experiment.backbones=[din]"]
    job.run("experiment", "trainer", "experiment", *scenario, *short)
    job.files("experiment", folder / "work" / "experiment")
    tuning = ["tune", *scenario, "--trials", "1", "training.epochs=1", "model.adapter=none"]
    job.run("tune", "trainer", *tuning, "training.learning_rate=log:1e-3..1e-2")
    return ridge


def serving_job(job: Job, config: Path, run_folder: str) -> None:
    folder, base = job.folder, job.folder / "export"
    job.run("export", "serving", "export", run_folder, "--out", str(base))
    job.files("export", base / "1")
    new = folder / "new_answers.jsonl"
    answer = {"source": "item", "entity_id": "50", "extraction": "individual"}
    new.write_text(json.dumps({**answer, "answer": "horses dust and duels"}) + "\n")
    refresh = ["refresh", "--model", str(base), "--answers", str(new)]
    job.run("refresh", "serving", *refresh)
    job.files("refresh", base / "2")
    request = str(user_request(folder))
    with LocalServer({"films": str(base)}) as server:
        for name, target in (
            ("predict over REST", f"http://127.0.0.1:{server.rest_port}"),
            ("predict over gRPC", f"grpc://127.0.0.1:{server.grpc_port}"),
        ):
            model = ["--target", target, "--model", "films"]
            job.run(name, "serving", "predict", *model, "--request", request)
        loadtest = ["loadtest", *model, "--rate", "5", "--seconds", "1", "--request", request]
        job.run("loadtest", "serving", *loadtest)
    deploy = ["deploy", "--config", str(config), "--out", str(folder / "deployment")]
    job.run("deploy", "serving", *deploy)
    job.files("deploy", folder / "deployment")


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Job]:
    folder = tmp_path_factory.mktemp("contract")
    job = Job(folder)
    config = write_tiny_inputs(folder)
    preprocessing_job(job, config)
    serving_job(job, config, trainer_job(job, config))
    yield job


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


@pytest.mark.slow
def test_a_whole_job_has_these_results_and_files(job: Job) -> None:
    expected = contract("job", job.record)
    for name, found in job.record.items():
        assert found == expected[name], name
    assert job.record.keys() == expected.keys()


@pytest.mark.parametrize(
    ("program", "words", "code"),
    [
        ("preprocessing", ["nothing"], 2),
        ("preprocessing", ["examples"], 2),
        ("preprocessing", ["examples", "--config", "absent.yaml"], 2),
        ("preprocessing", ["import", "--source", "item", "--out", "{tmp}/out", "absent"], 2),
        ("preprocessing", ["import", "--source", "item", "--out", "{tmp}/out", "{broken}"], 1),
        ("trainer", ["train", "--config", "configs/movielens_small.yaml", "model.bakbone=din"], 2),
        ("trainer", ["evaluate", "absent"], 2),
        ("serving", ["export", "absent", "--out", "{tmp}/out"], 2),
        ("serving", ["serve", "--model", "films"], 2),
    ],
)
def test_exit_codes(program: str, words: list[str], code: int, tmp_path: Path) -> None:
    broken = tmp_path / "broken.klg"
    broken.write_text('{"1": {"prompt": "x", "ans')
    filled = [word.format(tmp=tmp_path, broken=broken) for word in words]
    given, _, err = run(program, *filled)
    assert (given, "Traceback" in err) == (code, False), err
