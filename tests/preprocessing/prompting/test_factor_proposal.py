from __future__ import annotations

import pytest

from preprocessing.prompting.factor_proposal import factor_proposal_prompt


def test_the_prompt_quotes_the_scenario_and_asks_for_factors():
    prompt = factor_proposal_prompt('short "news" videos\nfor {commuters}')
    assert "\"short 'news' videos for {commuters}\"" in prompt
    assert "item: [" in prompt and "user: [" in prompt and "noun: {singular:" in prompt


def test_an_empty_scenario_is_refused():
    with pytest.raises(ValueError, match="is empty"):
        factor_proposal_prompt(" \u200b")
