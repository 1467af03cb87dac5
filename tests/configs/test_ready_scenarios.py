"""The scenario and experiment files that are ready to use, and the commands that our code names."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import examples.movielens_small.control_answers
import preprocessing.__main__
import trainer.__main__
from configs.experiment import Experiment
from configs.loading import load_scenario
from configs.scenario import Scenario
from trainer.experiments.grid import experiment_cells
from trainer.experiments.running import resamples_needed

ROOT = Path(__file__).parents[2]
NAMES = (
    "amazon_books", "goodbooks_10k", "movielens_100k", "movielens_1m", "movielens_latest",
    "movielens_small", "movielens_small_controls", "movielens_small_implicit",
    "movielens_small_links",
)  # fmt: skip
DOWNLOADED = [name for name in NAMES if not name.startswith("movielens_small")]
GRIDS = ("movielens_small_full", "movielens_small_grid")
RANKING_MODELS = 15
ARMS = [
    *("none", "ridge_individual", "ridge_collective", "hein_individual", "hein_collective"),
    *("hein_ridge_individual", "hein_ridge_collective"),
]
PROGRAMS: dict[str, Callable[[list[str]], int]] = {
    "preprocessing": preprocessing.__main__.main,
    "trainer": trainer.__main__.main,
    "examples.movielens_small.control_answers": examples.movielens_small.control_answers.main,
}


def file_of(name: str) -> Path:
    folder = "configs/experiments" if name in GRIDS else "configs"
    return ROOT / folder / f"{name}.yaml"


def loaded(name: str) -> Scenario:
    return load_scenario(file_of(name))


def answer_files(scenario: Scenario) -> list[str]:
    return [
        path
        for answers in scenario.knowledge.answers.values()
        for path in (*answers.individual, *answers.collective)
    ]


def test_every_file_is_known_here() -> None:
    assert sorted(path.stem for path in (ROOT / "configs").glob("*.yaml")) == sorted(NAMES)
    grids = (ROOT / "configs" / "experiments").glob("*.yaml")
    assert sorted(path.stem for path in grids) == sorted(GRIDS)


@pytest.mark.parametrize("name", [*NAMES, *GRIDS])
def test_files_load(name: str) -> None:
    assert loaded(name).name == name


@pytest.mark.parametrize("name", DOWNLOADED)
def test_data_sets_lie_in_their_own_folders(name: str) -> None:
    scenario = loaded(name)
    data = scenario.data
    tables = [data.interactions, data.catalogue, *([data.profiles] if data.profiles else [])]
    paths = [path for table in tables for path in table.paths] + answer_files(scenario)
    assert all(path.startswith(f"data/{name}/") for path in paths)
    assert scenario.work_dir == f"out/{name}"
    assert scenario.prompts.scenario == ("movies" if "movielens" in name else "books")


def test_the_protocols_of_the_method() -> None:
    books = loaded("amazon_books")
    assert books.data.filter.minimum_user_interactions == 60
    assert books.data.filter.minimum_item_interactions == 40
    assert books.data.positive_rating == 5.0
    assert books.split.knowledge_history_cap == 15
    movies = loaded("movielens_1m")
    assert movies.data.filter.keeps_everything
    assert movies.data.positive_rating == 4.0
    assert movies.split.knowledge_history_cap == 30


def test_the_settings_of_movielens_1m_are_the_studys() -> None:
    ours, study = (
        loaded("movielens_1m"),
        load_scenario(ROOT / "configs/evidence/movielens_1m.yaml", for_all_arms=True),
    )
    assert ours.training == study.training
    assert ours.model.dropout_rate == study.model.dropout_rate
    assert ours.data.history_length == study.data.history_length


@pytest.mark.parametrize("name", DOWNLOADED)
def test_by_default_the_llm_is_asked_for_links(name: str) -> None:
    scenario = loaded(name)
    catalogue = "title_genres" if "movielens" in name else "title_author"
    assert scenario.knowledge_sources() == ("links", catalogue)
    assert scenario.model.adapter == "none"
    of_arms = {cell.arm: cell.scenario.knowledge_sources() for cell in experiment_cells(scenario)}
    assert of_arms == {
        "none": (),
        catalogue: (catalogue,),
        "links_match": ("links", catalogue),
        "collaborative": ("collaborative", catalogue),
        "collaborative_links": ("collaborative", catalogue, "links"),
    }


def test_controls_differ_in_their_sources_alone() -> None:
    arms = loaded("movielens_small_controls").experiment.arms
    controls, with_llm = arms["collaborative"].overrides, arms["collaborative_and_llm"].overrides
    assert {key for key in {*controls, *with_llm} if controls.get(key) != with_llm.get(key)} == {
        "model.knowledge_match.sources"
    }
    assert controls["model.knowledge_match.dropout_rate"] == 0.2


def test_controls_of_links_differ_in_their_sources_alone() -> None:
    arms = loaded("movielens_small_links").experiment.arms
    for control, arm in (
        *(("links", other) for other in ("title_genres", "prose", "links_shuffled")),
        *(("links", "links_random"), ("links", "links_title_genres")),
        ("collaborative", "collaborative_links"),
    ):
        one, other = arms[control].overrides, arms[arm].overrides
        assert {key for key in {*one, *other} if one.get(key) != other.get(key)} == {
            "model.knowledge_match.sources"
        }


@pytest.mark.parametrize("name", GRIDS)
def test_experiments_are_grids_that_can_be_run(name: str) -> None:
    scenario = loaded(name)
    cells = experiment_cells(scenario)
    assert list(dict.fromkeys(cell.arm for cell in cells)) == ARMS
    comparisons = len(cells) - len(scenario.experiment.backbones)
    assert scenario.evaluation.bootstrap_resamples >= resamples_needed(comparisons)
    read = {source for cell in cells for source in cell.scenario.knowledge_sources()}
    assert read == set(scenario.knowledge.sources)


def test_the_full_table_has_every_ranking_model() -> None:
    full = loaded("movielens_small_full")
    assert len(full.experiment.backbones) == RANKING_MODELS
    assert full.experiment.tuning.trials > 0


def test_both_experiments_share_one_work_directory_and_so_the_settings_of_its_data() -> None:
    first, second = map(loaded, GRIDS)
    for section in ("work_dir", "data", "split", "knowledge", "model", "training"):
        assert getattr(first, section) == getattr(second, section)
    bundled = loaded("movielens_small")
    for section in ("data", "split", "training"):
        assert getattr(first, section) == getattr(bundled, section)


def test_an_experiment_has_three_seeds_by_default() -> None:
    assert Experiment().seeds == (1, 2, 3)


def commands_of(name: str) -> list[list[str]]:
    """The words of every `python -m` command of our programs in the comments of a file."""
    lines = file_of(name).read_text(encoding="utf-8").splitlines()
    comments = "\n".join(line.partition("# ")[2] for line in lines if "# " in line)
    joined = re.sub(r"\\\n\s*", "", comments)
    programs = "|".join(map(re.escape, PROGRAMS))
    collected = re.findall(rf"python -m (?:{programs}) .*?(?=   |$)", joined, re.MULTILINE)
    return [shlex.split(command)[2:] for command in collected]


@pytest.mark.parametrize("name", [*DOWNLOADED, *GRIDS])
def test_comments_name_commands_that_exist(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    commands = commands_of(name)
    if name in GRIDS:
        assert len(commands) == 4
    else:
        assert [command[:2] for command in commands] == [
            ["preprocessing", "download"],
            ["preprocessing", "prompts"],
            ["preprocessing", "prompts"],
            ["preprocessing", "generate"],
            ["preprocessing", "all"],
            ["trainer", "train"],
            ["trainer", "tune"],
            ["trainer", "experiment"],
        ]
        assert commands[0][2:] == [name]
    for program, *words in commands:
        subcommand = [] if program.startswith("examples") else words[:1]
        with pytest.raises(SystemExit) as ended:
            PROGRAMS[program]([*subcommand, "--help"])
        assert ended.value.code == 0
        shown = capsys.readouterr().out
        assert all(word in shown for word in words if word.startswith("--"))
        if name in DOWNLOADED and subcommand != ["download"]:
            assert words[1:3] == ["--config", f"configs/{name}.yaml"]
        if "--config" in words:
            config = ROOT / words[words.index("--config") + 1]
            load_scenario(config, [word for word in words if "=" in word])


@pytest.mark.parametrize("name", DOWNLOADED)
def test_answers_lie_where_the_comments_put_them(name: str) -> None:
    scenario = loaded(name)
    (generate,) = [words for words in commands_of(name) if words[1] == "generate"]
    options = dict(zip(generate[2:-1], generate[3:], strict=True))
    assert options["--prompts"] == f"{scenario.work_dir}/prompts/prompts.jsonl"
    assert set(answer_files(scenario)) == {f"{options['--out']}/answers.jsonl"}


@pytest.mark.parametrize("name", DOWNLOADED)
def test_settings_of_other_data_are_to_be_tuned_first(name: str) -> None:
    header = file_of(name).read_text(encoding="utf-8").split("\nname:")[0]
    assert ("tune these first" in header) == (name != "movielens_1m")
    assert f"trainer experiment --config configs/{name}.yaml experiment.tune_baseline" in header
    tuned = load_scenario(file_of(name), ["experiment.tune_baseline.trials=2"])
    assert experiment_cells(tuned)
    assert tuned.experiment.tuning.space == tuned.experiment.tune_baseline.space
    assert len(tuned.experiment.seeds) == 3


ROOMS = ("configs", "examples", "models", "preprocessing", "serving", "trainer")
ENDINGS = {".py", ".yaml"}
COMMAND = re.compile(
    r"python -m (?:preprocessing|trainer)\S* +(\w+) [^`\n]*?--config (configs/\S+\.yaml)([^`\n]*)"
)
OVERRIDE = re.compile(r"[a-z_]+(\.[a-z_0-9]+)+=.+|work_dir=.+|run_dir=.+")
STANDS_FOR_OTHERS = re.compile(r"\b[A-Z]{2,}\b|=seed\b")


def documented_commands(root: Path) -> Iterator[tuple[str, str, str, tuple[str, ...]]]:
    files = [path for room in ROOMS for path in sorted((root / room).rglob("*"))]
    for path in (file for file in files if file.suffix in ENDINGS):
        text = re.sub(r"\\+\n[ #]*", " ", path.read_text(encoding="utf-8"))
        for command, config, rest in COMMAND.findall(text):
            written = re.split(r"   | #", rest)[0]
            is_shell = written.count("'") % 2 == written.count('"') % 2 == 0
            words = shlex.split(written) if is_shell else written.split()
            overrides = [word for word in words if OVERRIDE.fullmatch(word)]
            if not any(STANDS_FOR_OTHERS.search(word) for word in overrides):
                yield str(path.relative_to(root)), command, config, tuple(overrides)


COMMANDS = sorted(set(documented_commands(ROOT)))


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 40
    assert ("model.match=none", "model.prior=false") in [overrides for *_, overrides in COMMANDS]


@pytest.mark.parametrize(("file", "command", "config", "overrides"), COMMANDS)
def test_the_scenario_takes_the_overrides(
    file: str, command: str, config: str, overrides: tuple[str, ...]
) -> None:
    is_range = re.compile(r"[^=]+=(choice:|log:|[\d.e-]+\.\.)")
    plain = [word for word in overrides if not (command == "tune" and is_range.match(word))]
    path = ROOT / config
    if path.exists():
        load_scenario(path, plain, for_all_arms=command == "experiment")
    else:
        assert "my" in config or "FILE" in config, f"{file} names {config}, which is not there"
