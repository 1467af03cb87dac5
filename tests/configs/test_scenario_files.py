from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

import preprocessing.__main__
import trainer.__main__
from configs.experiment import Experiment
from configs.loading import load_scenario
from trainer.experiments.grid import experiment_cells

PROGRAMS = {"preprocessing": preprocessing.__main__.main, "trainer": trainer.__main__.main}

NAMES = (
    "amazon_books", "goodbooks_10k", "movielens_100k", "movielens_1m", "movielens_latest",
    "movielens_small", "movielens_small_controls", "movielens_small_implicit",
)  # fmt: skip
DOWNLOADED = [name for name in NAMES if not name.startswith("movielens_small")]


def test_every_scenario_file_is_known_here(repository_root: Path) -> None:
    assert sorted(path.stem for path in (repository_root / "configs").glob("*.yaml")) == sorted(
        NAMES
    )


@pytest.mark.parametrize("name", NAMES)
def test_scenario_files_load(repository_root: Path, name: str) -> None:
    assert load_scenario(repository_root / "configs" / f"{name}.yaml").name == name


@pytest.mark.parametrize("name", DOWNLOADED)
def test_data_sets_lie_in_their_own_folders(repository_root: Path, name: str) -> None:
    scenario = load_scenario(repository_root / "configs" / f"{name}.yaml")
    data = scenario.data
    tables = [data.interactions, data.catalogue, *([data.profiles] if data.profiles else [])]
    paths = [path for table in tables for path in table.paths]
    paths += [
        path
        for answers in scenario.knowledge.answers.values()
        for path in (*answers.individual, *answers.collective)
    ]
    assert all(path.startswith(f"data/{name}/") for path in paths)
    assert scenario.work_dir == f"out/{name}"
    assert scenario.prompts.scenario == ("movies" if "movielens" in name else "books")


def test_the_protocols_of_the_method(repository_root: Path) -> None:
    books = load_scenario(repository_root / "configs/amazon_books.yaml")
    assert books.data.filter.minimum_user_interactions == 60
    assert books.data.filter.minimum_item_interactions == 40
    assert books.data.positive_rating == 5.0
    assert books.split.knowledge_history_cap == 15
    movies = load_scenario(repository_root / "configs/movielens_1m.yaml")
    assert movies.data.filter.keeps_everything
    assert movies.data.positive_rating == 4.0
    assert movies.split.knowledge_history_cap == 30


def test_controls_differ_in_their_sources_alone(repository_root: Path) -> None:
    scenario = load_scenario(repository_root / "configs/movielens_small_controls.yaml")
    arms = scenario.experiment.arms
    controls, with_llm = arms["collaborative"].overrides, arms["collaborative_and_llm"].overrides
    assert {key for key in {*controls, *with_llm} if controls.get(key) != with_llm.get(key)} == {
        "model.knowledge_match.sources"
    }
    assert controls["model.knowledge_match.dropout_rate"] == 0.2


def commands_of(text: str) -> list[list[str]]:
    """The words of every `python -m` command of our programs in the comments of a file."""
    comments = "\n".join(line.partition("# ")[2] for line in text.splitlines() if "# " in line)
    joined = re.sub(r"\\\n\s*", "", comments)
    found = re.findall(rf"python -m (?:{'|'.join(PROGRAMS)}) .*?(?=   |$)", joined, re.MULTILINE)
    return [shlex.split(command)[2:] for command in found]


@pytest.mark.parametrize("name", DOWNLOADED)
def test_comments_name_commands_that_exist(
    repository_root: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (repository_root / "configs" / f"{name}.yaml").read_text(encoding="utf-8")
    commands = commands_of(text)
    assert [command[:2] for command in commands] == [
        ["preprocessing", "download"],
        ["preprocessing", "prompts"],
        ["preprocessing", "prompts"],
        ["preprocessing", "generate"],
        ["preprocessing", "all"],
        ["trainer", "train"],
        ["trainer", "tune"],
        ["trainer", "experiment"],
        ["trainer", "train"],
    ]
    assert commands[0][2:] == [name]
    for program, command, *arguments in commands:
        with pytest.raises(SystemExit) as ended:
            PROGRAMS[program]([command, "--help"])
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        assert all(word in shown for word in arguments if word.startswith("--"))
        if command != "download":
            assert arguments[:2] == ["--config", f"configs/{name}.yaml"]
            overrides = [word for word in arguments if "=" in word]
            load_scenario(repository_root / arguments[1], overrides)


@pytest.mark.parametrize("name", DOWNLOADED)
def test_answers_lie_where_the_comments_put_them(repository_root: Path, name: str) -> None:
    path = repository_root / "configs" / f"{name}.yaml"
    scenario = load_scenario(path)
    (generate,) = [words for words in commands_of(path.read_text()) if words[1] == "generate"]
    options = dict(zip(generate[2:-1], generate[3:], strict=True))
    assert options["--prompts"] == f"{scenario.work_dir}/prompts/prompts.jsonl"
    files = {
        path
        for answers in scenario.knowledge.answers.values()
        for path in (*answers.individual, *answers.collective)
    }
    assert files == {f"{options['--out']}/answers.jsonl"}


@pytest.mark.parametrize("name", DOWNLOADED)
def test_settings_of_other_data_are_to_be_tuned_first(repository_root: Path, name: str) -> None:
    path = repository_root / "configs" / f"{name}.yaml"
    header = path.read_text(encoding="utf-8").split("\nname:")[0]
    assert "tune these first" in header
    assert f"trainer experiment --config configs/{name}.yaml experiment.tune_baseline" in header
    tuned = load_scenario(path, ["experiment.tune_baseline.trials=2"])
    assert experiment_cells(tuned)
    assert tuned.experiment.tuning.space == tuned.experiment.tune_baseline.space
    assert len(tuned.experiment.seeds) == 3


def test_an_experiment_has_three_seeds_by_default() -> None:
    assert Experiment().seeds == (1, 2, 3)
