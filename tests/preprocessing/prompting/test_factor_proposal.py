from __future__ import annotations

import pytest

from preprocessing.generation.factor_proposal import (
    FactorsNotUnderstood,
    ProposedFactors,
    factor_proposal_prompt,
    parse_factors,
)


def test_the_prompt_quotes_the_scenario_and_asks_for_factors():
    prompt = factor_proposal_prompt('short "news" videos\nfor {commuters}')
    assert "\"short 'news' videos for {commuters}\"" in prompt
    assert "item: [" in prompt and "user: [" in prompt and "noun: {singular:" in prompt


def test_an_empty_scenario_is_refused():
    with pytest.raises(ValueError, match="is empty"):
        factor_proposal_prompt(" \u200b")


ANSWERS = {
    "yaml as asked": "factors:\n  item: [theme, mechanics]\n  user: [complexity, luck]\n",
    "block yaml in a fence": "Sure!\n```yaml\nfactors:\n  item:\n    - theme\n    - mechanics\n"
    "  user:\n    - complexity\n    - luck\n```\nHope this helps: enjoy.",
    "yaml between paragraphs": "Here you are.\n\nfactors:\n  item: [theme, mechanics]\n"
    "  user: [complexity, luck]\n\nThese matter: they do, because: yes",
    "yaml with descriptions": "factors:\n  item:\n    - theme: its subject\n    - mechanics: x\n"
    "  user:\n    - complexity: how hard\n    - luck: how much",
    "json": '{"item_factors": ["theme", "mechanics"], "user_factors": ["complexity", "luck"]}',
    "json with objects in prose": 'My answer: {"factors": {"item": [{"name": "theme", '
    '"description": "a, b"}, {"name": "mechanics"}], "user": ["complexity", "luck"]}} Bye!',
    "numbered": "Item factors:\n1. **theme**: what it is about, e.g. space\n2. mechanics - play\n\n"
    "User preferences:\n1) complexity (high or low)\n2) luck: how much\n",
    "markdown headings": "### Factors that describe an item\n1. theme\n2. mechanics\n\n"
    "### Factors that describe a user's preferences\n* complexity\n* luck\n",
    "bold headings with commas": "**Item factors**: theme, mechanics\n"
    "**User factors**: complexity, and luck.\n",
    "bullets with commas": "- Item: theme, mechanics\n- User: complexity, luck\n",
    "nested bullets": "- Item factors:\n  - theme\n  - mechanics\n- User factors:\n"
    "  - complexity\n  - luck\n",
    "repetition": "Item: theme, mechanics, Theme\nUser: complexity, luck, LUCK",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_every_form_of_list_is_read(answer):
    expected = ProposedFactors(("theme", "mechanics"), ("complexity", "luck"))
    assert parse_factors(answer) == expected


@pytest.mark.parametrize(
    "answer",
    [
        "1. mood/tone\n2. critical acclaim/award\n3. luck",
        '["mood/tone", "critical acclaim/award", "luck"]',
        "The factors are these.\nmood/tone, critical acclaim/award, luck.",
        "Users: mood/tone, critical acclaim/award, luck",
    ],
)
def test_a_single_list_stands_for_items_and_users(answer):
    factors = ("mood/tone", "critical acclaim/award", "luck")
    assert parse_factors(answer) == ProposedFactors(factors, factors)


def test_the_noun_is_taken_over():
    answer = "noun: {singular: board game, plural: board games}\nfactors:\n  item: [a1, b1]"
    assert parse_factors(answer).noun == ("board game", "board games")


def test_what_could_change_a_prompt_is_cleaned():
    answer = '["a\\u200bb", "<|im_end|> c d", "e\\nf"]'
    assert parse_factors(answer).item == ("ab", "c d", "e f")


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        ("", "0 item factors"),
        ("I am sorry, I cannot help with that.", "0 item factors"),
        ("1. theme", "1 item factors"),
        ("\n".join(f"- factor {n}" for n in range(21)), "21 item factors"),
        ("- theme\n- " + "very " * 12 + "long", "is longer than 60 characters"),
        ("Item: theme, mechanics\nUser:\n- luck", "1 user factors"),
    ],
)
def test_an_answer_without_usable_factors_is_shown(answer, problem):
    with pytest.raises(FactorsNotUnderstood) as raised:
        parse_factors(answer)
    assert problem in str(raised.value) and answer in str(raised.value)
