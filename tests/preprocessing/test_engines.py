from __future__ import annotations

import argparse
import ast
import re
from collections.abc import Iterator
from pathlib import Path

import apache_beam as beam
import numpy as np
import pytest
import yaml
from apache_beam.options.pipeline_options import FlinkRunnerOptions, PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec

from configs.loading import load_scenario
from preprocessing.beam_options import BeamOptions
from preprocessing.commands.options import add_step_options, step_options_of
from preprocessing.encode import encode
from preprocessing.examples import build_examples
from tests.preprocessing.recorded_graphs import GRAPHS, RecordingRunner, leaves, needs_of
from tests.scenarios import implicit_config, rich_config, write_tiny_inputs
from tests.source_code import syntax_tree
from tests.test_import_direction import ALLOWED_IMPORTS

TABLE = yaml.safe_load((Path(__file__).parent / "engines.yaml").read_text(encoding="utf-8"))
ENGINES = [name for name in TABLE if name != "workers"]
RECORDING = BeamOptions(f"{RecordingRunner.__module__}.{RecordingRunner.__name__}")
FOLDER = Path("preprocessing", "engines")


def refusals(engine: str, graph: beam_runner_api_pb2.Pipeline) -> list[str]:
    """What a graph asks of an engine that the engine does not do."""
    offers = TABLE[engine]
    needs = needs_of(graph, frozenset(offers["runs"]))
    asked = {
        "transform": needs.transforms - {*offers["runs"], *TABLE["workers"]},
        "side input": needs.side_inputs - {*offers["side_inputs"]},
        "DoFn": needs.dofns - {*offers["dofns"]},
        "unbounded collection": needs.unbounded,
        "grouping without keys": needs.ungroupable,
        "requirement": needs.requirements,
    }
    return [f"{kind} {name}" for kind, names in asked.items() for name in sorted(names)]


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> list[beam_runner_api_pb2.Pipeline]:
    """Of every pipeline, over all kinds of input."""
    folder = tmp_path_factory.mktemp("graphs")
    first = len(GRAPHS)
    tiny = load_scenario(
        write_tiny_inputs(folder),
        ["data.filter.minimum_user_interactions=30", "split.by=global_time"],
    )
    encode(tiny, beam=RECORDING)
    build_examples(tiny, beam=RECORDING)
    made = folder / "made.npz"
    np.savez(made, entity_id=["1", "2"], vectors=np.eye(2))
    rich = load_scenario(
        rich_config(),
        [
            f"work_dir={folder / 'rich'}",
            f"knowledge.answers.made={{entity: item, vectors: [{made}]}}",
        ],
    )
    encode(rich, sources=["item", "user", "plain", "likes", "made"], beam=RECORDING)
    build_examples(rich, beam=RECORDING)
    implicit = load_scenario(implicit_config(), [f"work_dir={folder / 'implicit'}"])
    build_examples(implicit, beam=RECORDING)
    return GRAPHS[first:]


def labels(root: Path) -> Iterator[str]:
    """Names that the pipelines give to transforms: the texts before `>>` in our sources."""
    for path in (root / "preprocessing").rglob("*.py"):
        source = path.read_text(encoding="utf-8")
        if "apache_beam" not in source:
            continue
        for node in ast.walk(syntax_tree(source)):
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.RShift):
                if isinstance(node.left, ast.Constant) and isinstance(node.left.value, str):
                    yield node.left.value


@pytest.mark.slow
def test_no_transform_of_ours_is_left_out(
    graphs: list[beam_runner_api_pb2.Pipeline], repository_root: Path
) -> None:
    seen = {
        part
        for graph in graphs
        for transform in graph.components.transforms.values()
        for part in transform.unique_name.split("/")
    }
    ours = set(labels(repository_root))
    assert len(ours) > 80 and ours - seen == set()


@pytest.mark.slow
@pytest.mark.parametrize("engine", ENGINES)
def test_engines_take_every_pipeline(
    engine: str, graphs: list[beam_runner_api_pb2.Pipeline]
) -> None:
    assert [refusals(engine, graph) for graph in graphs] == [[]] * len(graphs)


@pytest.mark.slow
def test_pipelines_ask_for_no_more_than_the_documents_say(
    graphs: list[beam_runner_api_pb2.Pipeline], repository_root: Path
) -> None:
    needs = [needs_of(graph, frozenset(TABLE["flink"]["runs"])) for graph in graphs]
    assert not set().union(*(need.dofns for need in needs))
    assert not set().union(*(need.requirements for need in needs))
    assert set().union(*(need.windows for need in needs)) == {"beam:window_fn:global_windows:v1"}
    page = (repository_root / "docs" / "running_on_beam.md").read_text(encoding="utf-8")
    asked = set().union(*(need.transforms | need.side_inputs for need in needs))
    assert set(re.findall(r"`(beam:(?:transform|side_input):\w+:v1)`", page)) == asked


class _WithState(beam.DoFn):
    state = ReadModifyWriteStateSpec("state", beam.coders.VarIntCoder())

    def process(
        self, element: tuple[int, int], state: object = beam.DoFn.StateParam(state)
    ) -> None:
        """Does nothing; its declaration is what counts."""


def test_what_an_engine_does_not_do_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    first = len(GRAPHS)
    pipeline = beam.Pipeline(runner=RecordingRunner())
    numbers = pipeline | beam.Create([(1, 2)])
    _ = numbers | beam.ParDo(_WithState())
    _ = numbers | beam.Keys() | beam.Map(max, beam.pvalue.AsSingleton(numbers | beam.Values()))
    pipeline.run().wait_until_finish()
    (graph,) = GRAPHS[first:]
    assert refusals("flink", graph) == ["requirement beam:requirement:pardo:stateful:v1"]
    monkeypatch.setitem(
        TABLE,
        "less",
        {"runs": [], "side_inputs": [], "dofns": []},
    )
    assert [refusal.split()[0] for refusal in refusals("less", graph)] == [
        *("transform", "side", "DoFn", "requirement")
    ]
    names = {transform.unique_name for transform in leaves(graph, frozenset())}
    assert any("Impulse" in name for name in names)


def beam_flags(engine_file: Path) -> list[str]:
    """Flags for Beam that a file of arguments comes to, as our own commands read it."""
    parser = argparse.ArgumentParser()
    add_step_options(parser)
    words = ["--config", "scenario.yaml", *engine_file.read_text(encoding="utf-8").split()]
    return step_options_of(parser.parse_args(words))["beam"].flags


def unknown_to_beam(flags: list[str]) -> set[str]:
    """Options that no class of Beam has; a value of a wrong type ends in SystemExit."""
    options = PipelineOptions(flags).get_all_options()
    known = PipelineOptions([]).get_all_options()
    named = {flag.removeprefix("--").partition("=")[0] for flag in flags}
    assert all(options[name] is not None for name in named & known.keys())
    return named - known.keys()


@pytest.mark.parametrize("name", ["flink", "spark", "dataflow"])
def test_argument_files_are_options_of_beam(name: str, repository_root: Path) -> None:
    flags = beam_flags(repository_root / FOLDER / f"{name}.args")
    assert unknown_to_beam(flags) == set()
    assert f"--runner={name.capitalize()}Runner" in flags
    staged = (repository_root / FOLDER / f"{name}.args").read_text(encoding="utf-8")
    assert re.search(r"^--staging=\w+://\S+$", staged, re.MULTILINE)


def test_options_that_beam_does_not_know_are_found(tmp_path: Path) -> None:
    file = tmp_path / "wrong.args"
    file.write_text("--runner=FlinkRunner\n--beam-option=flink_masters=localhost:1\n")
    assert unknown_to_beam(beam_flags(file)) == {"flink_masters"}
    file.write_text("--runner=FlinkRunner\n--beam-option=parallelism=many\n")
    with pytest.raises(SystemExit):
        unknown_to_beam(beam_flags(file))


def test_the_flink_of_the_arguments_has_the_translator_of_the_table(repository_root: Path) -> None:
    flags = beam_flags(repository_root / FOLDER / TABLE["flink"]["options"])
    options = PipelineOptions(flags).view_as(FlinkRunnerOptions)
    assert options.flink_version.startswith("1.")
    assert options.parallelism == 16


def test_the_worker_image_has_the_python_and_the_packages_of_this_repository(
    repository_root: Path,
) -> None:
    image = (repository_root / FOLDER / "Dockerfile").read_text(encoding="utf-8")
    requirements = (repository_root / "requirements.txt").read_text(encoding="utf-8")
    project = (repository_root / "Makefile").read_text(encoding="utf-8")
    (pinned,) = re.findall(r"^apache-beam==(\S+)", requirements, re.MULTILINE)
    (python,) = set(re.findall(r"--python-version (\S+)", project))
    assert f"FROM apache/beam_python{python}_sdk:{pinned}\n" in image
    assert re.findall(r'"apache-beam\[.*\]==(.*)"', image) == [pinned]
    assert "pip install --no-cache-dir --require-hashes -r requirements.txt\n" in image
    # All rooms that workers import, at the top of the path, and nothing that is not there.
    copied = dict(re.findall(r"^COPY (\S+) (\S+)$", image, re.MULTILINE))
    assert copied.keys() == {"requirements.txt", "preprocessing", *ALLOWED_IMPORTS["preprocessing"]}
    assert all((repository_root / source).exists() for source in copied)
    (folder,) = re.findall(r"^WORKDIR (\S+)$", image, re.MULTILINE)
    assert f"ENV PYTHONPATH={folder}\n" in image


@pytest.mark.parametrize("name", ["flink", "spark"])
def test_argument_files_name_the_image_that_is_built(name: str, repository_root: Path) -> None:
    image = (repository_root / FOLDER / "Dockerfile").read_text(encoding="utf-8")
    (built,) = re.findall(r"docker build .* -t (\S+) \.", image)
    flags = beam_flags(repository_root / FOLDER / f"{name}.args")
    assert f"--environment_config={built}" in flags and "--environment_type=DOCKER" in flags
