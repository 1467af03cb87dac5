from __future__ import annotations

import pytest
from pydantic import ValidationError

from configs.prompting import Generation, Prompts


def test_a_budget_in_dollars_needs_prices() -> None:
    with pytest.raises(ValidationError, match="needs price_input and price_output"):
        Generation(budget_usd=1.0)
    assert Generation(budget_usd=1.0, price_input=0.5, price_output=1.5).budget_usd == 1.0


def test_titles_are_delimited_and_ids_hidden_unless_told_otherwise() -> None:
    prompts = Prompts()
    assert prompts.delimit_titles and prompts.pseudonymous_custom_ids


@pytest.mark.parametrize("client", ["openai", "batch-file", "replay", "gguf"])
def test_clients_by_name(client: str) -> None:
    assert Generation.model_validate({"client": client}).client == client
    with pytest.raises(ValidationError):
        Generation.model_validate({"client": f"{client}-2"})
