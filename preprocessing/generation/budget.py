"""What a run has spent, and whether one more call fits its budget."""

from __future__ import annotations

from preprocessing.generation.chat import Usage
from preprocessing.prompting.token_costs import Prices


class Budget:
    """Counts tokens of finished calls and holds back the most that calls in flight may spend.

    Args:
      tokens: tokens the run may spend; None for no limit.
      dollars: US dollars the run may spend; None for no limit. Needs prices.
      prices: price of tokens.
    """

    def __init__(self, tokens: int | None, dollars: float | None, prices: Prices):
        self._tokens = tokens
        self._dollars = dollars
        self._prices = prices
        self._reserved_prompt = 0
        self._reserved_completion = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.estimated_calls = 0

    def reserve(self, most: Usage) -> bool:
        """Holds back the most that a call may spend; False if that does not fit."""
        prompt = self.prompt_tokens + self._reserved_prompt + most.prompt_tokens
        completion = self.completion_tokens + self._reserved_completion + most.completion_tokens
        if self._tokens is not None and prompt + completion > self._tokens:
            return False
        dollars = self._prices.cost(prompt, completion)
        if self._dollars is not None and dollars is not None and dollars > self._dollars:
            return False
        self._reserved_prompt += most.prompt_tokens
        self._reserved_completion += most.completion_tokens
        return True

    def release(self, most: Usage) -> None:
        """Ends the reservation of a finished call."""
        self._reserved_prompt -= most.prompt_tokens
        self._reserved_completion -= most.completion_tokens

    def spend(self, usage: Usage) -> None:
        """Counts what a call has spent."""
        self.prompt_tokens += usage.prompt_tokens
        self.completion_tokens += usage.completion_tokens
        self.estimated_calls += usage.estimated

    @property
    def cost(self) -> float | None:
        """US dollars spent; None without prices."""
        return self._prices.cost(self.prompt_tokens, self.completion_tokens)
