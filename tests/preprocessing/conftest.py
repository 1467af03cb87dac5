from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from configs.loading import scenario_from_tree
from configs.scenario import Scenario
from preprocessing.__main__ import main
from tests.preprocessing.small_data import small_scenario_tree, write_small_inputs


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process: exit code, standard output and standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return command


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """Input files of a small scenario; a test may overwrite them."""
    write_small_inputs(tmp_path)
    return tmp_path


@pytest.fixture
def small_tree(small_folder: Path) -> dict[str, object]:
    """The scenario as a YAML file would hold it."""
    return small_scenario_tree(small_folder)


@pytest.fixture
def small_scenario(small_tree: dict[str, object]) -> Callable[..., Scenario]:
    """Makes the small scenario, with dotted keys set to other values."""

    def make(**assignments: object) -> Scenario:
        dotted = {key.replace("__", "."): value for key, value in assignments.items()}
        return scenario_from_tree(small_tree, dotted)

    return make


@pytest.fixture(scope="module")
def shared_scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    """The small scenario in a folder of the module, for a step whose result no test changes."""
    folder = tmp_path_factory.mktemp("shared")
    write_small_inputs(folder)
    return scenario_from_tree(small_scenario_tree(folder))
