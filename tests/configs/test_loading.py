from __future__ import annotations

import re
from pathlib import Path

import pytest

from configs.data import Split
from configs.loading import (
    ConfigurationError,
    described_keys,
    load_scenario,
    override_scenario,
    parse_override,
    save_scenario,
)
from configs.scenario import Scenario
from configs.training import Training

SMALL = """\
name: small
work_dir: out/small
data:
  interactions: {path: ratings.csv}
  catalogue:
    path: movies.csv
    attributes: {genres: {kind: categorical, separator: "|"}}
knowledge:
  sources: [item]
  answers:
    item: {entity: item, individual: [items.jsonl]}
    user: {entity: user, individual: [users.jsonl]}
"""


@pytest.fixture
def small_file(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def test_the_bundled_scenario(repository_root: Path) -> None:
    scenario = load_scenario(repository_root / "configs" / "movielens_small.yaml")
    assert scenario.name == "movielens_small"
    assert scenario.split.fractions == (0.8, 0.1, 0.1)
    assert scenario.knowledge.sources == ("item", "user")
    assert set(scenario.experiment.arms) == {"none", "hein", "hein_match", "links_match"}
    assert scenario.experiment.backbones == ("din", "dcnv2")
    assert len(scenario.experiment.seeds) == 3


def test_every_arm_of_the_bundled_scenario_is_valid(repository_root: Path) -> None:
    scenario = load_scenario(repository_root / "configs" / "movielens_small.yaml")
    arms = {
        name: override_scenario(scenario, arm.overrides)
        for name, arm in scenario.experiment.arms.items()
    }
    chosen = {name: (arm.model.adapter, arm.model.match) for name, arm in arms.items()}
    assert chosen == {
        "none": ("none", "none"),
        "hein": ("hein", "none"),
        "hein_match": ("hein", "ridge"),
        "links_match": ("none", "ridge"),
    }
    assert arms["hein_match"].knowledge.sources == ("item",)
    assert arms["links_match"].knowledge_sources() == ("links", "title_genres")


def test_overrides_are_read_as_yaml(small_file: Path) -> None:
    scenario = load_scenario(
        small_file,
        [
            "model.backbone=dcnv2",
            "training.seed=2",
            "training.learning_rate=0.01",
            "knowledge.sources=[item, user]",
            "split.fractions=[0.6, 0.2, 0.2]",
            "run_dir=",
            "work_dir=elsewhere=here",
            "data.catalogue.attributes.year={kind: numeric}",
        ],
    )
    assert scenario.model.backbone == "dcnv2"
    assert scenario.training == Training(seed=2, learning_rate=0.01)
    assert scenario.knowledge.sources == ("item", "user")
    assert scenario.split == Split(fractions=(0.6, 0.2, 0.2))
    assert scenario.run_dir is None
    assert scenario.work_dir == "elsewhere=here"
    assert set(scenario.data.catalogue.attributes) == {"genres", "year"}


def test_the_last_override_of_a_key_wins(small_file: Path) -> None:
    assert load_scenario(small_file, ["training.seed=2", "training.seed=3"]).training.seed == 3


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("training.seed", "write it as dotted.key=value"),
        ("=3", "write it as dotted.key=value"),
        ("training.seed=[1", "not valid YAML"),
        ("name.first=x", "'name' is a value, not a section"),
        ("training.seed=two", "training.seed: .*integer.* Received: 'two'"),
        ("training.sed=2", "unknown key 'training.sed'. Did you mean 'training.seed'?"),
        ("backbone=din", "unknown key 'backbone'. Did you mean 'model.backbone'?"),
        ("modle.backbone=din", "unknown key 'modle'. Did you mean 'model'?"),
        (
            "knowledge.answers.item.individal=[x]",
            "Did you mean 'knowledge.answers.item.individual'?",
        ),
        ("knowledge.sources=[film]", "source 'film' is not described"),
    ],
)
def test_a_wrong_override_is_explained(small_file: Path, override: str, message: str) -> None:
    pattern = message.replace("?", r"\?")
    with pytest.raises(ConfigurationError, match=pattern):
        load_scenario(small_file, [override])


@pytest.mark.parametrize("section", ["generation", "knowledge.encoder"])
def test_a_key_in_place_of_its_variable_is_refused_and_not_shown(
    small_file: Path, section: str
) -> None:
    with pytest.raises(ConfigurationError, match="expected the name of an environment") as caught:
        load_scenario(small_file, [f"{section}.api_key_variable=sk-hidden"])
    assert "hidden" not in str(caught.value)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["model.match=rigde"],
            "override model.match: Input should be 'none', 'means' or 'ridge'. Received: 'rigde'. "
            "Did you mean 'ridge'?",
        ),
        (["model.backbone=dinn"], "Received: 'dinn'. Did you mean 'din'?"),
        (["training.seed=2", "match=ridge"], "override match: unknown key 'match'. Did you mean "),
        (["training={epochs: 0}"], "override training: training.epochs: Input should be greater"),
        (
            ["knowledge.sources=[]", "model.adapter=hein"],
            "override knowledge.sources: model.",
        ),
        (
            ["model.adapter=mlp", "model.hein.dropout_rate=0.5"],
            "override model.hein.dropout_rate has no effect with model.adapter=mlp",
        ),
    ],
)
def test_an_override_is_blamed_for_its_mistake_and_the_file_is_not(
    small_file: Path, overrides: list[str], message: str
) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(message)) as raised:
        load_scenario(small_file, overrides)
    assert str(small_file) not in str(raised.value)


def test_all_mistakes_are_listed_with_the_file(small_file: Path) -> None:
    text = SMALL.replace("work_dir: out/small\n", "wrok_dir: out/small\n")
    small_file.write_text(text + "training: {epochs: 0}\n", encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load_scenario(small_file)
    lines = sorted(str(raised.value).splitlines())
    assert all(line.startswith(f"{small_file}: ") for line in lines)
    assert [line.removeprefix(f"{small_file}: ") for line in lines] == [
        "key 'work_dir' is missing",
        "training.epochs: Input should be greater than or equal to 1. Received: 0",
        "unknown key 'wrok_dir'. Did you mean 'work_dir'?",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: [unclosed\n", "not valid YAML"),
        (b"- a list\n", "expected sections"),
        (b"", "expected sections"),
        (b"name: caf\xe9\n", "not UTF-8 text"),
        (b"name: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    ],
)
def test_a_file_that_is_no_scenario(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=f"wrong.yaml: {message}"):
        load_scenario(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"no file or folder '.*absent.yaml'"):
        load_scenario(tmp_path / "absent.yaml")


def test_saved_and_read_back(small_file: Path, tmp_path: Path) -> None:
    scenario = load_scenario(small_file, ["name=Amélie", "model.hein.expert_units=[16, 8]"])
    copy = tmp_path / "copy.yaml"
    save_scenario(scenario, copy)
    assert load_scenario(copy) == scenario
    assert "Amélie" in copy.read_text(encoding="utf-8")


def test_an_override_makes_a_changed_copy(small_file: Path) -> None:
    scenario = load_scenario(small_file)
    changed = override_scenario(scenario, {"training.seed": 7})
    assert (scenario.training.seed, changed.training.seed) == (1, 7)
    assert override_scenario(changed, {"training.seed": 1}) == scenario
    with pytest.raises(ConfigurationError, match="override training.sed: unknown key '"):
        override_scenario(scenario, {"training.sed": 7})


def test_parse_override() -> None:
    assert parse_override("a.b=1") == ("a.b", 1)
    assert parse_override("a=none") == ("a", "none")
    assert parse_override("a=null") == ("a", None)
    assert parse_override("a={b: [1, c]}") == ("a", {"b": [1, "c"]})


def test_sections_may_stand_in_any_order(small_file: Path, tmp_path: Path) -> None:
    lines = SMALL.splitlines(keepends=True)
    reordered = tmp_path / "reordered.yaml"
    reordered.write_text("".join([*lines[7:], *lines[2:7], lines[1], lines[0]]), encoding="utf-8")
    assert load_scenario(small_file) == load_scenario(reordered)


def test_known_keys_cover_every_section() -> None:
    keys = list(described_keys())
    assert len(keys) == len(set(keys))
    for key in (
        "work_dir",
        "run_dir",
        "split.by",
        "knowledge.sources",
        "knowledge.answers.<name>.individual",
        "data.catalogue.attributes.<name>.kind",
        "model.backbone",
        "model.adapter",
        "model.match",
        "model.hein.expert_units",
        "training.epochs",
        "training.batch_size",
        "training.seed",
    ):
        assert key in keys
    assert list(described_keys(Training)) == list(Training.model_fields)
    assert keys[0] == next(iter(Scenario.model_fields))
