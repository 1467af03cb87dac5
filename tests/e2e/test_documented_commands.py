"""The commands of README and docs: the tutorials run as they are, every other one is checked.

A shell takes the blocks of a page apart, with our programs replaced by one that writes down how it
was called. `CHECKS` says for every command what is then done with it: it is run on tiny data, run
dry, or read by the program's own parser, with its scenario and overrides resolved.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
import textwrap
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

import configs.model
from configs import __version__
from configs.loading import load_scenario
from configs.scenario import Scenario
from docs import notebooks
from models.backbones import BACKBONES
from serving.export import export_run
from serving.server import LocalServer
from serving.server.server_files import ModelSettings
from tests.ports import free_ports
from tests.runs import write_run
from tests.scenarios import ITEMS, USERS, write_tiny_inputs
from tests.serving.exports import UNPROVEN
from trainer.distribution.cluster import VARIABLE, cluster_of
from trainer.evaluation.exports import saved_model_in
from trainer.evaluation.slices import chosen_slices
from trainer.experiments.grid import experiment_cells
from trainer.run_folder import RunFolder
from trainer.run_identity import default_run_folder
from trainer.tuning_space import check_space, require_space_has_effect, split_space

ROOT = Path(__file__).parents[2]
LESSONS = [f"docs/tutorials/{name}.md" for name in notebooks.LESSONS]
PAGES = [
    str(page.relative_to(ROOT))
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(ROOT.glob("docs/**/*.md")))
    if page.stem not in notebooks.LESSONS
]
INLINE = re.compile(r"`((?:python|make)\s[^`]*)`")
IS_SHELL = re.compile(
    r"(python|\S*/python|make|pip|curl|docker|kubectl|git|cd|mkdir|echo|export|eval) |[A-Z]+=\S"
)
OURS = re.compile(r"^(\$ )?(\S*/)?python -m (reki\.)?\w", re.MULTILINE)


@dataclass(frozen=True)
class Call:
    """How a block called a program.

    Attributes:
      program: "python", "make", "curl", ...
      words: its arguments.
      stdin: what it got there, where it asked for it with "-".
      cluster: TF_CONFIG of its environment.
    """

    program: str
    words: tuple[str, ...]
    stdin: str
    cluster: str

    @property
    def module(self) -> str:
        """What `python -m` runs; the wheel's name for it is the same module."""
        assert self.program == "python" and self.words[0] == "-m", self.words
        return self.words[1].removeprefix("reki.")

    @property
    def arguments(self) -> list[str]:
        """What the module is given."""
        return [*self.words[2:]]

    @property
    def key(self) -> str:
        """Of `CHECKS`: the program, of ours with the command."""
        if self.program != "python":
            return self.program
        return f"{self.module} {self.words[2]}" if has_commands(self.module) else self.module


def blocks(page: str) -> Iterator[str]:
    """The shell blocks of a page."""
    for block in notebooks.BLOCK.finditer((ROOT / page).read_text(encoding="utf-8")):
        text = textwrap.dedent(block["lines"]) if block["lines"] else block["text"]
        if block["kind"] in ("sh", "bash", "console") or IS_SHELL.match(text):
            yield text
        else:
            assert not OURS.search(text), f"{page}: a command among other text:\n{text}"


WRITES_DOWN = """\
#!/bin/bash
for word; do [ "$word" != - ] || input=$(cat); done
printf '%s\\x1f' "${0##*/}" "$input" "$TF_CONFIG" "$@" >> "$CALLS"
printf '\\x1e' >> "$CALLS"
"""
PROGRAMS = ("curl", "docker", "git", "kubectl", "make", "pip", "python")


def calls_of(block: str, folder: Path) -> list[Call]:
    """What a shell calls when it runs a block in a folder that has `WRITES_DOWN` for programs."""
    calls = folder / "calls"
    calls.write_text("")
    environment = {"PATH": f"{folder / '.venv/bin'}:{os.environ['PATH']}", "CALLS": str(calls)}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", block],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{block}\n{done.stderr}"
    written = (call.split("\x1f") for call in calls.read_text(encoding="utf-8").split("\x1e"))
    return [
        Call(program, tuple(words[:-1]), stdin, cluster)
        for program, stdin, cluster, *words in (fields for fields in written if fields[1:])
    ]


PLACEHOLDERS = {"=ARM": "=hein", "=S": "=2", "CHANGE": "training.epochs=2"}
"""What a page writes for "one of several" -> one of them; other such words name files here."""

ANSWER = "A quiet story of grief, family and silence, for those who love slow drama."
FILES: dict[str, list[dict[str, Any]]] = {
    "new_answers.jsonl": [
        {"source": "item", "entity_id": "1", "extraction": "individual", "answer": ANSWER}
    ],
    "new_links.jsonl": [
        {
            **{"source": "links", "entity_id": "1", "extraction": "individual"},
            "answer": json.dumps(["Film 9", "Film 12", "Film 3"]),
        }
    ],
    "artists.jsonl": [{"entity_id": "a-1", "source": "item", "extraction": "individual"}],
    "reki/ml-1m/item_id2group.json": [{"1": 36, "2": 29}],
    "reki/ml-1m/user_id2pos_neg_group.json": [{"1": [16, 91], "2": [79, 47]}],
    "user.json": [
        {
            **{"user_id": "u1", "candidates": ["1", "2", "3"]},
            **{"history_item_id": ["4", "5"], "history_rating": [5.0, 2.0]},
        }
    ],
}


class Sandbox:
    """A folder in which every path of the pages leads to something tiny.

    Attributes:
      folder: the folder, the working directory of all checks.
      ports: gRPC and REST, of a server with the models of the pages.
      patch: for what one check changes.
    """

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch):
        """Writes the inputs, and makes one run and one export of them."""
        self.folder, self.patch = folder, patch
        patch.chdir(folder)
        patch.setenv("OPENAI_API_KEY", "nobodys")
        folders = ("configs", "examples", "preprocessing", "serving")
        for name in (*folders, *(path.name for path in ROOT.glob("*.txt"))):
            Path(name).symlink_to(ROOT / name)
        for environment, programs in ((".venv", PROGRAMS), (".venv-tfx", ("python",))):
            for program in programs:
                self.write(f"{environment}/bin/{program}", WRITES_DOWN).chmod(0o755)
        self._write_inputs()
        self.run("preprocessing", ["all", "--config", "my_scenario.yaml"])
        scenario = load_scenario("my_scenario.yaml", ["run_dir=RUN"])
        write_run(scenario)
        export_run("RUN", "BASE", UNPROVEN)
        for name in ("RUN_A", "RUN_B", "out/demo/runs/NAME", "out/run"):
            self.link(name, "RUN")
        for name in ("out/export", "out/demo/export"):
            self.link(name, "BASE")
        for name in ("WORK_DIR", "out/movielens_small", "out/movielens_1m"):
            self.link(name, "work")
        for name in ("out/demo", "out/tutorial/films"):
            self.link(f"{name}/examples", "work/examples")
            self.link(f"{name}/knowledge", "work/knowledge")
        # Trained before the lesson adds knowledge to its file.
        self.link("out/tutorial/films/runs/din_none_seed1", "RUN")

    def write(self, name: str, text: str) -> Path:
        """Writes a file, with the folders above it."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def link(self, name: str | Path, target: str | Path) -> None:
        """Makes a path lead to something that is there."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return
        if target == "RUN":
            # Runs of several seeds are no names of one.
            shutil.copytree(self.folder / target, path)
        else:
            path.symlink_to(self.folder / target)

    def _write_inputs(self) -> None:
        tree = yaml.safe_load(write_tiny_inputs(Path()).read_text(encoding="utf-8"))
        answers = tree["knowledge"]["answers"]
        answers["item"] = {
            **{"entity": "item", "individual": ["item_answers.jsonl"]},
            "grouping": {"maximum_size": 12},
        }
        answers["links"] = {"entity": "item", "individual": ["links.jsonl"], "links": {}}
        answers["user_links"] = {
            **answers["user"],
            **{"individual": ["user_links.jsonl"], "links": {"names": 3, "disliked_names": 2}},
        }
        tree["prompts"] = {"scenario": "movies"}
        tree["model"] |= {"match": "ridge", "knowledge_match": {"sources": ["item", "links"]}}
        for name in ("my_scenario.yaml", "my.yaml", "FILE.yaml"):
            self.write(name, yaml.safe_dump(tree, sort_keys=False))
        numbers = [int(item) for item in ITEMS]
        named = {
            str(number): [f"Film {1 + (number + step) % len(numbers)}" for step in (1, 2, 5)]
            for number in numbers
        }
        asked = {"extraction": "individual", "model": "written by hand"}
        links = [
            {**asked, "source": "links", "entity_id": item, "answer": json.dumps(names)}
            for item, names in named.items()
        ]
        lists = json.dumps({"liked": ["Film 1", "Film 2"], "disliked": ["Film 3"]})
        user_links = [{**asked, "source": "user_links", "entity_id": USERS[0], "answer": lists}]
        completion = {"choices": [{"message": {"content": ANSWER}, "finish_reason": "stop"}]}
        knowledge = [{"prompt": "36", **completion}]
        files = FILES | {
            "links.jsonl": links,
            "user_links.jsonl": user_links,
            "out/answers/answers.jsonl": links,
            "batch_output.jsonl": FILES["new_answers.jsonl"],
            "FILE...": FILES["new_answers.jsonl"],
            "artists.jsonl": [{**FILES["new_answers.jsonl"][0], "entity_id": "a-1"}],
            "reki/ml-1m/item_knowledge.json": knowledge,
            "reki/ml-1m/user_positive_knowledge.json": knowledge,
            "reki/ml-1m/user_negative_knowledge.json": knowledge,
        }
        for lesson in LESSONS:
            for step in notebooks.steps((ROOT / lesson).read_text(encoding="utf-8")):
                if step.kind == "file":
                    save(self.folder / step.file, step.text)
        for name, records in files.items():
            self.write(name, "".join(json.dumps(record) + "\n" for record in records))
        for name in ("artist_ids.csv", "old_and_new.csv"):
            self.write(name, "old,new\na-1,1\n1,2\n")
        self.write("users.txt", "u2\n")
        self.write("models/llm.gguf", "GGUF")
        self.write("data/movielens_1m/ratings.dat", "1::1193::5::978300760\n1::661::3::978302109\n")
        self.write("data/movielens_1m/users.dat", "1::F::1::10::48067\n")
        self.write(
            "data/movielens_1m/movies.dat",
            "661::James (1996)::Animation\n1193::One (1975)::Drama\n",
        )
        vector = np.random.default_rng(0).normal(size=12).astype(np.float32)
        pd.DataFrame({"entity_id": ["1"], "vector": [vector]}).to_parquet("new_vectors.parquet")

    @contextlib.contextmanager
    def served(self) -> Iterator[None]:
        """Serves the export under the names of the pages, until the block ends."""
        models = [
            ModelSettings(name, self.folder / "BASE", labels={"stable": 1})
            for name in ("films", "movielens", "movies")
        ]
        with LocalServer(models) as server:
            self.ports = {"8500": str(server.grpc_port), "8501": str(server.rest_port)}
            yield

    def run(self, module: str, words: list[str], stdin: str = "") -> None:
        """Runs a program of ours here, in this process."""
        written = io.StringIO()
        self.patch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin.encode())))
        with contextlib.redirect_stdout(written), contextlib.redirect_stderr(written):
            code: str | int | None
            try:
                code = main_of(module)(words)
            except SystemExit as stop:
                code = stop.code
        assert not code, f"python -m {module} {' '.join(words)}\n{written.getvalue()}"


def has_commands(module: str) -> bool:
    """Whether it is a folder with a program of several commands."""
    return (ROOT / module.replace(".", "/") / "__main__.py").exists()


def main_of(module: str) -> Callable[..., int]:
    """The function that `python -m` calls."""
    name = f"{module}.__main__" if has_commands(module) else module
    main: Callable[..., int] = importlib.import_module(name).main
    return main


class Read(Exception):
    """Ends a program when its parser has read its arguments."""


def read_by(module: str, words: list[str], patch: pytest.MonkeyPatch) -> argparse.Namespace:
    """What a program's own parser makes of the arguments, which it must take."""
    real = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *_: Any) -> None:
        raise Read(real(parser, words))

    said = io.StringIO()
    with patch.context() as inner, contextlib.redirect_stderr(said):
        inner.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)
        try:
            main_of(module)()
        except Read as found:
            namespace: argparse.Namespace = found.args[0]
            return namespace
        except SystemExit:
            pass
    raise AssertionError(f"python -m {module} {' '.join(words)}\n{said.getvalue()}")


READ = ("config", "examples", "titles", "base", "request", "runs")
"""Options of several commands that name files and folders which are read."""


def parsed(sandbox: Sandbox, call: Call) -> argparse.Namespace:
    """The parser takes the arguments, and what they read is there."""
    arguments = read_by(call.module, call.arguments, sandbox.patch)
    read = [getattr(arguments, name, None) for name in READ]
    read += dict(getattr(arguments, "models", None) or {}).values()
    for path in read:
        assert path in (None, "-") or Path(path).exists(), f"{call.words}: {path}"
    return arguments


def resolved(sandbox: Sandbox, call: Call) -> Scenario:
    """The scenario takes the overrides as well; the runs that come out of it are there then."""
    arguments = parsed(sandbox, call)
    if call.cluster:
        sandbox.patch.setenv(VARIABLE, call.cluster)
    if call.key == "trainer tune":
        overrides, space = split_space(arguments.overrides)
        choices = {key: searched.choices or () for key, searched in space.items()}
        scenario = load_scenario(arguments.config, overrides, choices)
        check_space(scenario, space, {})
        require_space_has_effect(scenario, space)
        return scenario
    is_grid = call.key in ("trainer experiment", "examples.movielens_small.demo")
    overrides = getattr(arguments, "overrides", [])
    scenario = load_scenario(arguments.config, overrides, for_all_arms=is_grid)
    if is_grid:
        runs = Path(getattr(arguments, "work_dir", scenario.work_dir)) / "runs"
        for cell in experiment_cells(scenario):
            for seed in scenario.experiment.seeds:
                sandbox.link(runs / f"{cell.name}_seed{seed}", "RUN")
    elif call.key == "trainer train":
        if call.cluster:
            assert cluster_of(scenario.training) is not None
        run = str(default_run_folder(scenario).path)
        # A page trains with one seed and says that the others follow.
        for seed in (1, 2, 3):
            sandbox.link(re.sub(r"_seed1$", f"_seed{seed}", run), "RUN")
    return scenario


def runs(sandbox: Sandbox, call: Call) -> None:
    """The command does its work, on tiny data."""
    sandbox.run(call.module, call.arguments)


def prepares(sandbox: Sandbox, call: Call) -> None:
    """The command says what it would do; what it would make is there then."""
    runs_dry(sandbox, call)
    sandbox.link(resolved(sandbox, call).work_dir, "work")


def forgets(sandbox: Sandbox, call: Call) -> None:
    """The same; a report to verify is written by work that is not dry."""
    (parsed if "--verify" in call.words else runs_dry)(sandbox, call)


def asks(sandbox: Sandbox, call: Call) -> None:
    """Prompts are written; what would call an LLM is run dry."""
    (runs_dry if "--propose-factors" in call.words else runs)(sandbox, call)


def reads_runs(sandbox: Sandbox, call: Call) -> None:
    """The folders are finished runs, or exports, and the slices are there; loading them is slow."""
    arguments = parsed(sandbox, call)
    sides = [getattr(arguments, side, None) or [] for side in ("baseline", "candidate")]
    for folder in (*sides[0], *sides[1], *filter(None, [getattr(arguments, "folder", None)])):
        assert saved_model_in(folder) or RunFolder(folder).read_metrics(), folder
    if slices := getattr(arguments, "slices", None):
        assert chosen_slices(slices, load_scenario("my_scenario.yaml"))
    if call.key == "serving export":
        sandbox.link(arguments.out, "BASE")


def runs_dry(sandbox: Sandbox, call: Call) -> None:
    """The command says what it would do."""
    words = [word for word in call.arguments if word != "--dry-run"]
    sandbox.run(call.module, [*words, "--dry-run"])


def asks_server(sandbox: Sandbox, call: Call) -> None:
    """The command asks a server."""
    words = [re.sub(r"(?<=:)850[01]$", lambda port: sandbox.ports[port[0]], word)
             for word in call.arguments]  # fmt: skip
    parsed(sandbox, call)
    sandbox.run(call.module, [*words, "--timeout-seconds", "120"], call.stdin)


def answered(sandbox: Sandbox, call: Call) -> None:
    """A request to the REST API is answered."""
    url = call.words[-1]
    for documented, port in sandbox.ports.items():
        url = url.replace(f":{documented}/", f":{port}/")
    body = dict(zip(call.words, call.words[1:], strict=False)).get("-d")
    with urllib.request.urlopen(url, None if body is None else body.encode()) as answer:
        assert json.loads(answer.read())


def made(sandbox: Sandbox, call: Call) -> None:
    """Make knows the goals."""
    command = ["make", "-n", "-C", str(ROOT), *call.words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    sandbox.link("out/tfx/pushed/movielens", "BASE")


def installs(sandbox: Sandbox, call: Call) -> None:
    """Pip is given files of ours."""
    assert call.words[0] == "install"
    for word in call.words[1:]:
        if word.endswith(".txt"):
            assert Path(word).exists(), word
        elif "/" in word:
            assert word.startswith(f"out/wheel/reki-{__version__}-py3-none-any.whl"), word


def clones(sandbox: Sandbox, call: Call) -> None:
    """Git gets an address, which a page cannot know, and a folder."""
    assert call.words == ("clone", "URL", "reki")


def serves(sandbox: Sandbox, call: Call) -> None:
    """Docker and kubectl get what is there: a model for the official image, or files of ours."""
    option = {"build": "-f", "run": "-v", "compose": "--file", "apply": "-k"}[call.words[0]]
    assert option != "-v" or call.words[-1] == "tensorflow/serving"
    given = call.words[call.words.index(option) + 1].partition(":")[0]
    assert Path(given).exists(), given


CHECKS: dict[str, Callable[[Sandbox, Call], object]] = {
    "configs doctor": parsed,  # what it finds is about the machine
    "configs schema": runs,
    "configs show": runs,
    "curl": answered,
    "docker": serves,
    "git": clones,
    "kubectl": serves,
    "examples.evidence --help": runs,
    "examples.evidence run": parsed,
    "examples.evidence.kernels": parsed,
    "examples.movielens_small.control_answers": runs,
    "examples.movielens_small.demo": resolved,
    "examples.movielens_small.link_probe": parsed,
    "make": made,
    "pip": installs,
    "preprocessing all": prepares,
    "preprocessing download": runs_dry,
    "preprocessing encode": prepares,
    "preprocessing examples": prepares,
    "preprocessing explain": resolved,
    "preprocessing forget": forgets,
    "preprocessing generate": runs_dry,
    "preprocessing group": runs,
    "preprocessing import": runs,
    "preprocessing inspect": runs,
    "preprocessing link": runs,
    "preprocessing prompts": asks,
    "preprocessing validate": runs,
    "serving deploy": runs,
    "serving explore": parsed,
    "serving export": reads_runs,
    "serving loadtest": parsed,
    "serving predict": asks_server,
    "serving refresh": runs_dry,
    "serving serve": parsed,
    "trainer --completion": runs,
    "trainer compare": reads_runs,
    "trainer evaluate": reads_runs,
    "trainer experiment": resolved,
    "trainer train": resolved,
    "trainer tune": resolved,
    "trainer.tfx_pipeline": resolved,
    "benchmarks.backbone_cost": parsed,
    "benchmarks.client_import": parsed,
    "benchmarks.collaborative_matrix": parsed,
    "benchmarks.encode_overhead": parsed,
    "benchmarks.evaluation_memory": parsed,
    "benchmarks.explorer_pages": parsed,
    "benchmarks.export_tables": parsed,
    "benchmarks.input_pipeline": parsed,
    "benchmarks.models": parsed,
    "benchmarks.scale": parsed,
    "benchmarks.serving_latency": parsed,
    "benchmarks.serving_memory": parsed,
}
"""Command -> how it is checked. A command that a page begins to show needs a line here."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with pytest.MonkeyPatch.context() as patch:
        # The page on adding a backbone adds it; its file is tested beside the others.
        patch.setitem(configs.model.BACKBONES, "nfm", "models.backbones.nfm")
        patch.setitem(BACKBONES, "nfm", BACKBONES["din"])
        made_ready = Sandbox(tmp_path_factory.mktemp("documented"), patch)
        with made_ready.served():
            yield made_ready


@functools.cache
def calls_of_page(page: str, folder: Path) -> list[Call]:
    """The calls in the shell blocks of a page, each block in a shell of its own."""
    found = []
    for block in blocks(page):
        for written, meant in PLACEHOLDERS.items():
            block = re.sub(rf"{written}\b", meant, block)
        found += calls_of(block, folder)
    return found


@pytest.mark.parametrize("page", PAGES)
def test_commands_of_a_page(page: str, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.patch = monkeypatch
    for call in calls_of_page(page, sandbox.folder):
        assert call.key in CHECKS, f"say in CHECKS how '{call.key}' is checked"
        CHECKS[call.key](sandbox, call)


def test_every_check_is_of_a_command(sandbox: Sandbox) -> None:
    shown = {call.key for page in PAGES for call in calls_of_page(page, sandbox.folder)}
    assert shown == {*CHECKS}


@pytest.mark.parametrize("page", [*PAGES, *LESSONS])
def test_commands_in_running_text(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """They leave out what does not matter there, but name what there is."""
    contract = json.loads((ROOT / "tests/e2e/command_contract.json").read_text(encoding="utf-8"))
    goals = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for text in INLINE.findall((ROOT / page).read_text(encoding="utf-8")):
        program, *words = re.sub(r"\bN\b", "1", text).split()
        if program == "make":
            assert {word for word in words if "=" not in word} <= {*goals}, text
            continue
        if words[0] != "-m" or words[1] in ("pytest", "benchmarks.NAME"):
            continue
        call = Call("python", tuple(words), "", "")
        options = contract.get(f"options of {call.module}")
        if options is None:
            read_by(call.module, call.arguments, monkeypatch)
        elif call.arguments and not call.arguments[0].startswith("--"):
            named = {word for word in call.arguments[1:] if word.startswith("--")}
            assert named <= {*options[call.arguments[0]]}, text


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that has what the repository has, and no `out` yet."""
    for name in ("configs", "examples", "models", "preprocessing", "reki", "serving", "trainer"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "pyproject.toml").symlink_to(ROOT / "pyproject.toml")
    monkeypatch.setenv("PATH", f"{ROOT / '.venv/bin'}:{os.environ['PATH']}")
    return tmp_path


def save(file: Path, text: str) -> None:
    """Writes what a page says to save; a second text of a YAML file is added to the first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a" if file.suffix == ".yaml" else "w", encoding="utf-8") as saved:
        saved.write(text)


@contextlib.contextmanager
def served(folder: Path, command: str) -> Iterator[None]:
    """The server of a page, until the block ends."""
    log = folder / "server.log"
    with (
        log.open("w") as output,
        subprocess.Popen(
            ["bash", "-c", f"exec {command}"], cwd=folder, stdout=output, stderr=output
        ) as server,
    ):
        try:
            while "serving films version" not in log.read_text(encoding="utf-8"):
                assert server.poll() is None, log.read_text(encoding="utf-8")
                time.sleep(0.2)
            yield
        finally:
            server.terminate()


def run(folder: Path, commands: str) -> str:
    """What commands print on both streams."""
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{commands}\n{done.stdout}"
    return done.stdout


ORDER = ("your_own_data", "existing_model", "nightly_refresh")
"""Of the tutorials: a later one goes on with what an earlier one made."""


@pytest.mark.slow
def test_tutorials_run(folder: Path) -> None:
    assert sorted(ORDER) == [*notebooks.LESSONS]
    text = "".join((notebooks.FOLDER / f"{page}.md").read_text("utf-8") for page in ORDER)
    with free_ports(2) as ports:
        text = text.replace("8500", str(ports[0])).replace("8501", str(ports[1]))
    printed = ""
    with contextlib.ExitStack() as servers:
        for step in notebooks.steps(text):
            if step.kind == "file":
                save(folder / step.file, step.text)
            elif step.kind == "commands":
                commands, _, server = step.text.partition("python -m serving serve ")
                printed = run(folder, commands)
                if server:
                    servers.enter_context(served(folder, f"python -m serving serve {server}"))
            elif step.kind == "output":
                for line in step.text.splitlines():
                    if line.endswith("..."):
                        assert line.removesuffix("...").strip() in printed
        # The last page asks for one more candidate in the request.
        request = json.loads((folder / "out/tutorial/user.json").read_text(encoding="utf-8"))
        request["candidates"].append("180000")
        (folder / "out/tutorial/user.json").write_text(json.dumps(request), encoding="utf-8")
        last = re.findall(r"python -m serving predict (?:.*\\\n)*.*", text)[-1]
        ranked = run(folder, last)
        assert "version 2" in ranked
        assert "180000" in ranked
