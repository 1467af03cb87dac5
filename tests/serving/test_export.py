from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from configs.command_line import CommandError
from configs.loading import ConfigurationError
from models.building import AnyModel
from preprocessing.examples import build_examples
from preprocessing.records.contract import USER_FOLDS
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.layout import WorkDirectory
from serving import export as export_module
from serving import id_index, publishing
from serving.c_api import CApiSession
from serving.export import describe_export, export_run, serving_module
from serving.export_manifest import verify_manifest
from serving.options import ExportOptions
from serving.proof.result import ProofError
from serving.publishing import write_warmup_requests
from serving.refresh.version import RefreshFolder
from serving.serving_module import ServingModule
from tests.runs import random_model, raw_requests, write_run, written_run
from tests.scenarios import (
    ITEMS,
    USERS,
    USERS_WITH_ANSWER,
    copied_scenario,
    tiny_scenario,
)
from tests.serving.exports import (
    OTHER_VARIANTS,
    RANKING_VARIANTS,
    UNPROVEN,
    Export,
    assert_close,
    every_model,
    exported,
    exported_variant,
    request_rows,
)
from trainer.run_folder import RunFolderError

KNOWLEDGE_WIDTH = 12
EXPERT_WIDTH = 10
DT_STRING = tf.string.as_datatype_enum
AUGMENTED = "_parts/adapter/_tables/"


def meta_graph(path: Path) -> Any:
    saved_model = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    (graph,) = saved_model.meta_graphs
    return graph


def test_signatures_take_raw_ids_and_numbers() -> None:
    export = exported()
    assert export.result["signatures"] == sorted(export.loaded.signatures)

    def inputs(signature: str) -> dict[str, tf.TensorSpec]:
        return export.loaded.signatures[signature].structured_input_signature[1]

    def request(users: int | None) -> dict[str, tuple[list[int | None], tf.DType]]:
        return {
            "user_id": ([users], tf.string),
            "item_id": ([None], tf.string),
            "history_item_id": ([users, None], tf.string),
            "history_rating": ([users, None], tf.float32),
            "user_share_liked": ([users], tf.float32),
            "user_mean_rating": ([users], tf.float32),
            "user_log_count": ([users], tf.float32),
        }

    for signature, users in (("serving_default", None), ("rank", 1)):
        actual = {
            name: (specification.shape.as_list(), specification.dtype)
            for name, specification in inputs(signature).items()
        }
        assert actual == request(users)
    for signature, name in (
        ("predict_examples", "examples"),
        ("classify", "inputs"),
        ("regress", "inputs"),
    ):
        ((found_name, specification),) = inputs(signature).items()
        assert (found_name, specification.shape.as_list(), specification.dtype) == (
            name,
            [None],
            tf.string,
        )


def test_signatures_name_their_serving_api_and_outputs() -> None:
    definitions = meta_graph(exported().path).signature_def
    outputs = {
        name: (
            definition.method_name.removeprefix("tensorflow/serving/"),
            {
                output: [dimension.size for dimension in info.tensor_shape.dim]
                for output, info in definition.outputs.items()
            },
        )
        for name, definition in definitions.items()
        if not name.startswith("__")
    }
    assert outputs == {
        "serving_default": ("predict", {"score": [-1]}),
        "rank": ("predict", {"score": [-1]}),
        "predict_examples": ("predict", {"score": [-1]}),
        "classify": ("classify", {"scores": [-1, 1]}),
        "regress": ("regress", {"outputs": [-1]}),
    }


def test_signatures_of_other_kinds() -> None:
    shapes = {
        name: {
            signature: {
                output: [dimension.size for dimension in info.tensor_shape.dim]
                for output, info in definition.outputs.items()
            }
            for signature, definition in meta_graph(
                exported_variant(name).path
            ).signature_def.items()
            if not signature.startswith("__")
        }
        for name in OTHER_VARIANTS
    }
    # How many items are found is not fixed: a refresh adds some.
    found = {"item_id": [-1, -1], "score": [-1, -1]}
    assert shapes == {
        "prm": {
            "serving_default": {"score": [-1, -1]},
            "rank": {"score": [-1]},
            "predict_examples": {"score": [-1, -1]},
        },
        "two_tower": {
            "serving_default": found,
            "top_k": found,
            "user_vectors": {"vector": [-1, 32]},
            "item_vectors": {"vector": [-1, 32]},
        },
    }


def held(export: Export) -> dict[str, list[int]]:
    """Names and shapes of the variables of an export."""
    return dict(tf.train.list_variables(str(export.path / "variables" / "variables")))


def assert_no_knowledge(shapes: dict[str, list[int]]) -> None:
    for name, shape in shapes.items():
        is_table = len(shape) == 2 and shape[0] > len(USERS_WITH_ANSWER)
        assert not (is_table and shape[1] == KNOWLEDGE_WIDTH), (name, shape)
        assert EXPERT_WIDTH not in shape, (name, shape)
        assert not any(word in name for word in ("expert", "hein", "network")), name


@every_model
def test_neither_knowledge_vectors_nor_hein_are_inside(backbone: str, arm: str) -> None:
    export = exported(backbone, arm)
    shapes = held(export)
    assert_no_knowledge(shapes)
    hein = export.run.model.adapter
    augmented = [name for name in shapes if name.startswith(AUGMENTED)]
    assert len(augmented) == (0 if hein is None else len(hein.sources))
    if hein is not None:
        assert any(KNOWLEDGE_WIDTH in weight.shape for weight in hein.weights)
        assert any(EXPERT_WIDTH in weight.shape for weight in hein.weights)


def test_without_knowledge_no_vector_is_inside() -> None:
    shapes = held(exported("din", "none"))
    assert shapes and not [name for name in shapes if name.startswith(AUGMENTED)]


@pytest.mark.parametrize(
    "name",
    [
        name
        if name in ("hein", "pca", *OTHER_VARIANTS)
        else pytest.param(name, marks=pytest.mark.slow)
        for name in (*RANKING_VARIANTS, *OTHER_VARIANTS)
    ],
)
def test_neither_adapters_nor_knowledge_nor_fold_tables_are_inside(name: str) -> None:
    export = exported_variant(name)
    shapes = held(export)
    model = export.run.model
    trained = [] if model.adapter is None else model.adapter.trainable_weights
    assert len(shapes) < len(model.weights) + len(model.inputs_preparation.variables)
    for variable, shape in shapes.items():
        assert USER_FOLDS not in shape[:1] and USER_FOLDS + 1 not in shape, (variable, shape)
    if name != "pca":  # The exact form of match compares whole vectors, centred and of length 1.
        assert_no_knowledge(shapes)
    own = [shape for variable, shape in shapes.items() if variable.startswith(AUGMENTED)]
    sources = () if model.adapter is None else model.adapter.sources
    if name == "two_tower":
        assert len(own) == 2
    else:
        assert len(own) == len(sources)
    assert all(shape[1] == 8 for shape in own)
    assert name in ("replace_id", "pca") or trained


@every_model
def test_no_table_is_a_constant_of_the_graph(backbone: str, arm: str) -> None:
    """Except for the raw ids that fill the lookup tables when the model is loaded."""
    graph = meta_graph(exported(backbone, arm).path).graph_def
    functions = {function.signature.name: function.node_def for function in graph.library.function}
    fills_a_table = {
        name
        for name, nodes in functions.items()
        if any(node.op == "LookupTableImportV2" for node in nodes)
    }
    raw_ids = {
        name
        for node in graph.node
        if node.attr["f"].func.name in fills_a_table
        for name in node.input
    }
    sizes = {
        node.name: int(np.prod([axis.size for axis in node.attr["value"].tensor.tensor_shape.dim]))
        for node in [
            *(node for node in graph.node if node.name not in raw_ids),
            *(node for nodes in functions.values() for node in nodes),
        ]
        if node.op == "Const" and not node.name.startswith(("SaveV2/", "RestoreV2/"))
    }
    assert len(sizes) > 10
    # Every table of this scenario has at least as many rows as there are users with an answer.
    assert max(sizes.values()) < len(USERS_WITH_ANSWER), sizes


def test_versions_follow_each_other(tmp_path: Path) -> None:
    first = exported("din", "none")
    assert (first.result["version"], first.path) == (1, first.base / "1")
    assert {path.name for path in first.base.iterdir()} == {".lock", "1"}
    for name in ("2", "10", "notes", ".11.unfinished"):
        (tmp_path / name).mkdir()
    (tmp_path / ".11.unfinished" / "leftover").write_text("of a killed export")
    result = export_run(first.run.folder.path, tmp_path, UNPROVEN)
    assert (result["version"], result["path"]) == (11, str(tmp_path / "11"))
    assert not (tmp_path / "11" / "leftover").exists()
    assert {path.name for path in tmp_path.iterdir()} == {*(".lock", "2", "10", "11", "notes")}


def test_no_version_is_written_into_a_version() -> None:
    first = exported("din", "none")
    message = rf"--out {first.path}: this is version 1 .* above it: --out {first.base}$"
    for refused in (export_run, describe_export):
        with pytest.raises(ConfigurationError, match=message):
            refused(first.run.folder.path, first.path, UNPROVEN)


def test_who_was_forgotten_does_not_come_back_with_an_export(tmp_path: Path) -> None:
    run = written_run("din", "hein")
    folder = RefreshFolder(tmp_path / "1").path
    folder.mkdir(parents=True)
    forgotten = Forgotten().with_ids([USERS_WITH_ANSWER[0], "nobody"], [ITEMS[0], ITEMS[1]])
    forgotten.write(folder)
    message = "version 1 in .* has forgotten 2 items and 1 users that this run knows.*forget"
    for refused in (export_run, describe_export):
        with pytest.raises(CommandError, match=message):
            refused(run.folder.path, tmp_path, UNPROVEN)
    assert [path.name for path in tmp_path.iterdir() if path.name.isdigit()] == ["1"]
    Forgotten().with_ids(["nobody"], ["nothing"]).write(folder)
    assert describe_export(run.folder.path, tmp_path, UNPROVEN)["version"] == 2


def test_a_failed_export_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(folder: Path, *_: object) -> None:
        assert (folder / "saved_model.pb").exists()
        raise OSError("disk full")

    monkeypatch.setattr(export_module, "write_warmup_requests", fail)
    with pytest.raises(OSError, match="disk full"):
        export_run(written_run("din", "none").folder.path, tmp_path, UNPROVEN)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_second_export_does_not_touch_the_first_ones_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = written_run("din", "none").folder.path
    begun = []

    def begin_another(folder: Path, *rest: Any) -> Path:
        begun.append(folder)
        if len(begun) == 1:
            with pytest.raises(CommandError, match="another process is at work in"):
                export_run(run, tmp_path, UNPROVEN)
        return write_warmup_requests(folder, *rest)

    monkeypatch.setattr(export_module, "write_warmup_requests", begin_another)
    result = export_run(run, tmp_path, UNPROVEN)
    assert (result["version"], len(begun)) == (1, 1)
    assert {path.name for path in tmp_path.iterdir()} == {".lock", "1"}
    verify_manifest(tmp_path / "1")
    assert tf.saved_model.contains_saved_model(str(tmp_path / "1"))


def test_a_finished_run_gets_a_largest_request(tmp_path: Path) -> None:
    options = UNPROVEN.model_copy(update={"largest_request": 1000})
    result = export_run(written_run("din", "none").folder.path, tmp_path, options)
    score = tf.saved_model.load(result["path"]).signatures["serving_default"]
    requests = raw_requests(tiny_scenario())
    rows = {name: requests[name] for name in score.structured_input_signature[1]}

    def times(many: int) -> dict[str, tf.Tensor]:
        return {name: tf.repeat(values[:1], many, axis=0) for name, values in rows.items()}

    assert score(**times(1000))["score"].shape == [1000]
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 1000 values"):
        score(**times(1001))


def test_what_cannot_be_is_refused_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*_: object) -> None:
        raise AssertionError("the proof's samples are drawn")

    monkeypatch.setattr(export_module, "draw_samples", work)
    run = written_run("din", "hein").folder.path
    with pytest.raises(ConfigurationError, match="serving.id_type: .* user 'u1' is none"):
        export_run(run, tmp_path, ExportOptions(id_type="int64"))
    with pytest.raises(ConfigurationError, match="serving.largest_request"):
        export_run(run, tmp_path, ExportOptions(largest_request=999))
    monkeypatch.setattr(publishing, "MOST_WARMUP_REQUESTS", 3)
    with pytest.raises(ConfigurationError, match="signatures make .* warm-up requests"):
        export_run(run, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_vectors_that_the_number_format_cannot_hold_are_the_users_to_mend() -> None:
    model = random_model(tiny_scenario(model__adapter="hein"))
    (default,) = (weight for weight in model.adapter.weights if "default_item" in weight.name)
    default.assign(tf.fill(default.shape, 1e6))
    with pytest.raises(
        CommandError, match=r"knowledge/item/augmented holds .*serving\.augmented_dtype=float32"
    ):
        serving_module(model, "float16")


def test_ids_that_cannot_be_told_apart_are_the_users_to_mend(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(id_index, "id_hashes", lambda ids, salt: np.zeros(len(ids), np.int64))
    with pytest.raises(CommandError, match="the model's tables cannot be stored: ids repeat"):
        serving_module(written_run("din", "none").model)


def texts_inside(path: Path) -> set[bytes]:
    """Every string of a SavedModel's graph and variables."""
    graph = meta_graph(path).graph_def
    constants = [
        node.attr["value"].tensor
        for node in [*graph.node, *(n for each in graph.library.function for n in each.node_def)]
        if node.op == "Const"
    ]
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    variables = [
        reader.get_tensor(name)
        for name, dtype in reader.get_variable_to_dtype_map().items()
        if dtype == tf.string
    ]
    texts = [tf.make_ndarray(each) for each in constants if each.dtype == DT_STRING]
    return {text for array in [*texts, *variables] for text in np.ravel(array).tolist()}


def test_raw_ids_are_in_searches_only_and_those_of_users_nowhere() -> None:
    items, users = ({raw_id.encode() for raw_id in ids} for ids in (ITEMS, USERS))
    assert not texts_inside(exported_variant("hein").path) & (items | users)
    search_texts = texts_inside(exported_variant("two_tower").path)
    assert search_texts >= items and not search_texts & users
    for name in ("hein", "two_tower"):
        folder = RefreshFolder(exported_variant(name).path)
        for source in ("item", "user"):
            with np.load(folder.source(source) / "entities.npz") as arrays:
                texts = {key for key, array in arrays.items() if array.dtype.kind in "US"}
                assert texts == {"group_ids"}
                assert not {raw_id.encode() for raw_id in arrays["group_ids"]} & (items | users)


def test_what_scores_otherwise_is_not_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_other_weights(model: AnyModel, *options: Any) -> ServingModule:
        for weight in model.scorer.trainable_weights:
            weight.assign(weight * 1.1)
        return serving_module(model, *options)

    monkeypatch.setattr(export_module, "serving_module", of_other_weights)
    options = ExportOptions(proof="quick", proof_samples=20, card_part="none")
    with pytest.raises(ProofError, match="serving_default"):
        export_run(written_run("din", "none").folder.path, tmp_path, options)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_a_run_whose_data_changed_is_not_exported(tmp_path: Path) -> None:
    scenario = copied_scenario(tmp_path, run_dir=str(tmp_path / "run"), model__adapter="none")
    run = write_run(scenario)
    manifest = WorkDirectory(scenario.work_dir).examples.manifest
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), "code_version": "other"}))
    with pytest.raises(RunFolderError, match="changed: examples"):
        export_run(run.folder.path, tmp_path / "base")
    assert not (tmp_path / "base").exists()


def test_an_unfinished_run_is_not_exported(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(ConfigurationError, match=r"there is no file or folder '.*/run'"):
        export_run(run, tmp_path / "base")
    run.mkdir()
    with pytest.raises(RunFolderError, match="no finished run"):
        export_run(run, tmp_path / "base")
    assert list(tmp_path.iterdir()) == [run]


def variable_types(path: Path) -> dict[str, tf.DType]:
    reader = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    types = reader.get_variable_to_dtype_map()
    return {name: dtype for name, dtype in types.items() if name.startswith(AUGMENTED)}


def test_an_export_in_float16_needs_neither_run_nor_data(tmp_path: Path) -> None:
    scenario = copied_scenario(
        tmp_path, run_dir=str(tmp_path / "run"), serving__augmented_dtype="float16"
    )
    run = write_run(scenario)
    base = tmp_path / "base"
    export = Export(run, base, export_run(run.folder.path, base, UNPROVEN))
    assert set(variable_types(export.path).values()) == {tf.float16}
    assert set(variable_types(exported("din", "hein").path).values()) == {tf.float32}
    moved = tmp_path / "elsewhere"
    shutil.move(export.path, moved)
    for folder in ("work", "run", "base"):
        shutil.rmtree(tmp_path / folder)
    raw = request_rows()
    expected = export.expected(raw)
    assert expected.std() > 0.005
    with CApiSession(moved) as session:
        differences = np.abs(session.run("serving_default", raw)["score"] - expected)
    assert 0 < differences.max() < 1e-3


@pytest.mark.parametrize("match", ["ridge", pytest.param("means", marks=pytest.mark.slow)])
def test_short_histories_of_examples_are_short_in_requests_too(tmp_path: Path, match: str) -> None:
    options: dict[str, Any] = {
        "data__history_length": 5,
        "model__match": match,
        "knowledge__sources": ["item"],
        "run_dir": str(tmp_path / "run"),
    }
    scenario = copied_scenario(tmp_path, **options)
    build_examples(scenario, force=True)
    short, long = raw_requests(scenario), raw_requests(tiny_scenario())
    assert short["history_item_id"].shape[1] == 5 < long["history_item_id"].shape[1]
    np.testing.assert_array_equal(short["user_id"], long["user_id"])
    np.testing.assert_array_equal(short["item_id"], long["item_id"])
    run = write_run(scenario)
    trained_on = run.model.probabilities(short).numpy()
    assert_close(run.model.probabilities(long).numpy(), trained_on)
    export = Export(
        run, tmp_path / "base", export_run(run.folder.path, tmp_path / "base", UNPROVEN)
    )
    for raw in (short, long):
        assert_close(
            export.scores({name: value.numpy() for name, value in raw.items()}), trained_on
        )
