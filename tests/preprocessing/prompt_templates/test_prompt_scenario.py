from __future__ import annotations

import pytest
import yaml

from configs.loading import ConfigurationError
from preprocessing.prompt_templates import (
    bundled_scenarios,
    load_prompt_scenario,
    prompt_scenario_path,
)
from preprocessing.prompting.factor_proposal import (
    ProposedFactors,
    scenario_name,
    write_scenario_file,
)

NAMES = ["books", "movies", "music", "news", "products"]


def test_five_scenarios_are_bundled():
    assert bundled_scenarios() == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_bundled_scenarios_speak_of_their_own_items(name):
    scenario = load_prompt_scenario(prompt_scenario_path(name))
    assert scenario.name == name
    sections = (scenario.templates, scenario.links, scenario.noun)
    texts = [text for section in sections for text in section.model_dump().values()]
    words = " ".join(texts).lower()
    foreign = {"movie": "movies", "book": "books", "article": "news", "track": "music"}
    for word, owner in foreign.items():
        assert (word in words) == (owner == name)
    assert len(scenario.factors.item) >= 6 and len(scenario.factors.user) >= 6


def tree_of(name: str = "movies") -> dict:
    return yaml.safe_load(prompt_scenario_path(name).read_text(encoding="utf-8"))


def test_a_scenario_of_ones_own_needs_no_code(tmp_path):
    tree = tree_of() | {"name": "games", "noun": {"singular": "game", "plural": "games"}}
    path = tmp_path / "games.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    assert load_prompt_scenario(prompt_scenario_path(str(path))).noun.plural == "games"
    del tree["templates"]["history_entry_without_rating"]
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    templates = load_prompt_scenario(path).templates
    assert templates.history_entry_without_rating == "{title} ({opinion})"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("templates.item", "{title} {colour} {factors}", "item: unknown placeholder '{colour}'"),
        ("templates.item", "{title} by genre", "item: the placeholder '{factors}' is missing"),
        ("templates.user", "{history} {factors} {title}", "user: unknown placeholder '{title}'"),
        ("templates.history_entry", "{title:>9}", "'{title:>9}' is not a plain name"),
        (
            "templates.history_entry_without_rating",
            "{title} {rating} stars",
            "history_entry_without_rating: unknown placeholder '{rating}'",
        ),
        ("templates.item_group", "{titles} {factors", "expected '}'"),
        ("templates.colour", "red", "unknown key 'templates.colour'"),
        ("factors.item", None, "key 'factors.item' is missing"),
        ("factors.user", [], "factors.user: "),
        ("factors.user", ["genre", "genre"], "a factor stands there twice"),
        ("factors.user", ["genre", " "], "a factor is empty"),
        ("links.item", "Name {number} more", "links: item: the placeholder '{until}' is missing"),
        ("links.user", "{number}{until}", "user: the placeholder '{disliked}' is missing"),
        ("links.item_group", "{titles} {factors}", "unknown placeholder '{factors}'"),
        ("links.number", 10, "unknown key 'links.number'"),
        ("title_display", ["{title} ({year})"], "the last one must need nothing but {title}"),
        ("title_display", ["{year}", "{title}"], "'{title}' is missing"),
        ("noun.plural", "", "noun.plural: "),
    ],
)
def test_mistakes_are_named_with_file_and_key(tmp_path, key, value, message):
    tree = tree_of()
    *sections, last = key.split(".")
    node = tree[sections[0]] if sections else tree
    node[last] = value
    if value is None:
        del node[last]
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(ConfigurationError) as raised:
        load_prompt_scenario(path)
    assert str(raised.value).startswith(f"{path}: ") and message in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"a: [", "not valid YAML"), (b"\xff", "not UTF-8"), (b"- a\n", "expected keys such as")],
)
def test_files_that_are_no_scenario_are_refused(tmp_path, content, message):
    path = tmp_path / "own.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        load_prompt_scenario(path)


def test_unknown_scenarios_are_refused_with_the_known_names():
    for name in (None, "games", "../scenarios/movies", "movies.yaml"):
        with pytest.raises(ConfigurationError, match="books, movies, music, news, products"):
            prompt_scenario_path(name)


FACTORS = ProposedFactors(("theme", "critical acclaim: awards"), ("luck", "#1 hits"))


def test_the_file_is_a_scenario(tmp_path):
    path = tmp_path / "new" / "games.yaml"
    write_scenario_file(path, "board games\nfor families # cheap", FACTORS, "toy-llm")
    scenario = load_prompt_scenario(path)
    assert scenario.name == "board_games_for_families_cheap"
    assert (scenario.factors.item, scenario.factors.user) == (FACTORS.item, FACTORS.user)
    assert (scenario.noun.singular, scenario.noun.plural) == ("item", "items")
    assert scenario.title_display == ("{title}",)
    assert "{noun}" in scenario.templates.item and "movie" not in scenario.templates.item
    text = path.read_text()
    assert text.startswith("# Scenario: board games for families # cheap\n# Factors proposed by")
    assert "toy-llm" in text
    assert [file.name for file in path.parent.iterdir()] == ["games.yaml"]


def test_the_noun_of_the_answer_is_used(tmp_path):
    path = tmp_path / "games.yaml"
    proposed = ProposedFactors(("a", "b"), ("c", "d"), ("board game", "board games"))
    write_scenario_file(path, "board games", proposed, "toy-llm")
    assert load_prompt_scenario(path).noun.plural == "board games"


def test_names_fit_a_file_name():
    assert scenario_name("Short news-videos, for commuters!") == "short_news_videos_for_commuters"
    assert scenario_name("映画") == "scenario"
    assert len(scenario_name("word " * 50)) <= 40
