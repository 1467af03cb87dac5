from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import examples.movielens_small.control_answers
import preprocessing.__main__
import trainer.__main__
from configs.loading import load_scenario
from trainer.experiments.grid import experiment_cells
from trainer.experiments.running import resamples_needed

NAMES = ("movielens_small_full", "movielens_small_grid")
RANKING_MODELS = 15
ARMS = [
    *("none", "ridge_individual", "ridge_collective", "hein_individual", "hein_collective"),
    *("hein_ridge_individual", "hein_ridge_collective"),
]


def path_of(repository_root: Path, name: str) -> Path:
    return repository_root / "configs" / "experiments" / f"{name}.yaml"


def test_every_experiment_file_is_known_here(repository_root: Path) -> None:
    found = (repository_root / "configs" / "experiments").glob("*.yaml")
    assert sorted(path.stem for path in found) == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_experiment_files_are_grids_that_can_be_run(repository_root: Path, name: str) -> None:
    scenario = load_scenario(path_of(repository_root, name))
    assert scenario.name == name
    cells = experiment_cells(scenario)
    assert list(dict.fromkeys(cell.arm for cell in cells)) == ARMS
    comparisons = len(cells) - len(scenario.experiment.backbones)
    assert scenario.evaluation.bootstrap_resamples >= resamples_needed(comparisons)
    read = {source for cell in cells for source in cell.scenario.knowledge_sources()}
    assert read == set(scenario.knowledge.sources)


def test_the_full_table_has_every_ranking_model(repository_root: Path) -> None:
    full = load_scenario(path_of(repository_root, "movielens_small_full"))
    assert len(full.experiment.backbones) == RANKING_MODELS
    assert full.experiment.tuning.trials > 0


def test_both_files_share_one_work_directory_and_so_the_settings_of_its_data(
    repository_root: Path,
) -> None:
    first, second = (load_scenario(path_of(repository_root, name)) for name in NAMES)
    for section in ("work_dir", "data", "split", "knowledge", "model", "training"):
        assert getattr(first, section) == getattr(second, section)
    bundled = load_scenario(repository_root / "configs" / "movielens_small.yaml")
    for section in ("data", "split", "training"):
        assert getattr(first, section) == getattr(bundled, section)


@pytest.mark.parametrize("name", NAMES)
def test_comments_name_commands_that_exist(
    repository_root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mains = {
        "preprocessing": preprocessing.__main__.main,
        "trainer": trainer.__main__.main,
        "examples.movielens_small.control_answers": examples.movielens_small.control_answers.main,
    }
    text = path_of(repository_root, name).read_text(encoding="utf-8")
    commands = re.findall(r"^#   python -m (\S+) (.*?)(?=   |$)", text, re.MULTILINE)
    assert len(commands) == 4
    for program, words in commands:
        subcommand = [] if program.startswith("examples") else words.split()[:1]
        with pytest.raises(SystemExit) as ended:
            mains[program]([*subcommand, "--help"])
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        options = [word for word in shlex.split(words) if word.startswith("--")]
        assert all(option in shown for option in options)
        if "--config" in options:
            config = repository_root / words.split("--config ")[1].split()[0]
            load_scenario(config, [word for word in words.split() if "=" in word])
