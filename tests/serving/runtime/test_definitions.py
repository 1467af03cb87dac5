from __future__ import annotations

from pathlib import Path

import pytest
from tensorflow.core.protobuf import meta_graph_pb2

from configs.command_line import CommandError
from serving.c_api import (
    require_variables,
    serving_graph,
    signature_definitions,
)
from tests.serving.toy_ranker import toy_base_path


def test_the_initialization_is_no_signature() -> None:
    folder = toy_base_path() / "3"
    assert set(serving_graph(folder).signature_def) == {
        *signature_definitions(folder),
        "__saved_model_init_op",
    }


def test_definitions_of_what_is_no_saved_model(tmp_path: Path) -> None:
    definitions = signature_definitions(toy_base_path() / "3")
    assert set(definitions) == {
        *("serving_default", "rank", "predict_examples", "classify", "classify_labelled"),
        *("regress", "echo"),
    }
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(CommandError, match="no graph tagged 'serve'"):
        signature_definitions(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"\xff\xff")
    with pytest.raises(CommandError, match="saved_model.pb cannot be read"):
        signature_definitions(tmp_path)


def test_variables_of_a_graph_must_be_there(tmp_path: Path) -> None:
    folder = toy_base_path() / "3"
    graph = serving_graph(folder)
    require_variables(folder, graph)
    with pytest.raises(CommandError, match=r"variables.index is missing"):
        require_variables(tmp_path, graph)
    require_variables(tmp_path, meta_graph_pb2.MetaGraphDef())
