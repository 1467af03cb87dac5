from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import tensorflow as tf

import configs.model
import models.backbones
import models.building
from models.building import build_model
from tests.models.backbones import test_base
from tests.models.builders import model_tables, raw_features, small_scenario

BACKBONE_FILE = "models/backbones/nfm.py"
TEST_FILE = "tests/models/backbones/test_nfm.py"


@pytest.fixture(scope="module")
def page(repository_root: Path) -> str:
    return (repository_root / "docs/adding-a-backbone.md").read_text(encoding="utf-8")


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], ModuleType]:
    """Writes a file and imports it under a module name, for as long as the test runs."""

    def write_and_import(name: str, code: str) -> ModuleType:
        file = tmp_path / f"{name.rpartition('.')[2]}.py"
        file.write_text(code, encoding="utf-8")
        specification = importlib.util.spec_from_file_location(name, file)
        assert specification is not None and specification.loader is not None
        module = importlib.util.module_from_spec(specification)
        monkeypatch.setitem(sys.modules, name, module)
        specification.loader.exec_module(module)
        return module

    return write_and_import


@pytest.fixture
def nfm(
    page: str, load: Callable[[str, str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> type[tf.keras.layers.Layer]:
    """The page's backbone, registered as the page says."""
    module = load("models.backbones.nfm", code_of(page, BACKBONE_FILE))
    ((name, path),) = ast.literal_eval(f"{{{code_of(page, 'configs/model.py')}}}").items()
    monkeypatch.setitem(configs.model.BACKBONES, name, path)
    extended = load("extended_registry", inspect.getsource(models.backbones))
    assert set(extended.BACKBONES) - set(models.backbones.BACKBONES) == {"nfm"}
    assert extended.BACKBONES["nfm"] is module.NeuralFactorizationMachine
    monkeypatch.setattr(test_base, "BACKBONES", extended.BACKBONES)
    monkeypatch.setitem(models.building._REGISTRIES, "ctr", extended.BACKBONES)
    monkeypatch.setitem(test_base.ARMS, "nfm", ("nfm", {}))
    return module.NeuralFactorizationMachine


def code_of(page: str, file: str) -> str:
    """The Python block that follows the first line which names the file."""
    collected = re.search(rf"`{re.escape(file)}`[^`]*?\n\n```python\n(.*?)```", page, re.DOTALL)
    assert collected is not None, f"the page shows no code for {file}"
    return collected[1]


def test_the_backbone_does_what_every_backbone_must(
    nfm: type[tf.keras.layers.Layer], tmp_path: Path
) -> None:
    contract = test_base.TestEveryBackbone()
    contract.test_a_batch_of_1_equals_its_row_in_a_batch("nfm")
    contract.test_padding_changes_nothing("nfm")
    contract.test_one_user_for_many_candidates("nfm")
    contract.test_a_history_of_length_0_equals_padding_only("nfm")
    contract.test_without_sources_every_trainable_weight_gets_a_gradient("nfm")
    contract.test_the_configuration_makes_an_equal_layer("nfm")
    contract.test_training_lowers_the_loss("nfm")
    contract.test_graph_and_saved_model_equal_eager("nfm", tmp_path / "saved_model")


def test_the_page_s_test_passes_and_can_fail(
    page: str, nfm: type[tf.keras.layers.Layer], tmp_path: Path
) -> None:
    file = tmp_path / "test_nfm.py"
    code = code_of(page, TEST_FILE)
    for text, expected in (
        (code, pytest.ExitCode.OK),
        (code.replace("range(i + 1,", "range(i,"), pytest.ExitCode.TESTS_FAILED),
    ):
        file.write_text(text, encoding="utf-8")
        sys.modules.pop("test_nfm", None)
        assert pytest.main([str(file), "-q", "-p", "no:cacheprovider"]) == expected


def test_the_name_works_in_a_scenario(nfm: type[tf.keras.layers.Layer]) -> None:
    model = build_model(small_scenario(backbone="nfm", match="means"), model_tables())
    assert model(raw_features(3)).shape == (3,)
    assert isinstance(model.scorer._backbones[0], nfm)


def test_the_page_lists_the_inputs_in_order(page: str) -> None:
    listed = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert tuple(listed) == models.backbones.base.BackboneInputs._fields
