from __future__ import annotations

from preprocessing.prompt_templates.prompt_scenario import load_prompt_scenario
from preprocessing.prompting.factor_proposal import (
    ProposedFactors,
    scenario_name,
    write_scenario_file,
)

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
