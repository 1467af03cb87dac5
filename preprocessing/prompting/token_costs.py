"""What the prompts will cost, estimated before anything is spent.

A prompt's tokens are estimated; texts and names in answers are taken to have the configured length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from configs.prompting import Prompts
from configs.text_table import aligned

_PRICED_TOKENS = 1_000_000


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens; None if not configured.

    Attributes:
      prompt: for prompt tokens.
      answer: for answer tokens.
    """

    prompt: float | None
    answer: float | None

    def cost(self, prompt_tokens: int, answer_tokens: int) -> float | None:
        """US dollars, None without both prices."""
        if self.prompt is None or self.answer is None:
            return None
        total = prompt_tokens * self.prompt + answer_tokens * self.answer
        return round(total / _PRICED_TOKENS, 6)


@dataclass
class PromptCount:
    """Prompts of one source and extraction.

    Attributes:
      source: name of the source.
      entity: "item" or "user".
      extraction: "individual" or "collective".
      prompts: number of prompts.
      prompt_tokens: estimated sum.
      texts: prompts that ask for a text.
      names: names that are asked for, in all prompts.
      most_names: the same in one prompt, at most.
    """

    source: str
    entity: str
    extraction: str
    prompts: int = 0
    prompt_tokens: int = 0
    texts: int = 0
    names: int = 0
    most_names: int = 0

    def answer_tokens(self, prompts: Prompts) -> int:
        """Expected tokens of all answers."""
        return (
            self.texts * prompts.expected_answer_tokens + self.names * prompts.expected_name_tokens
        )

    def longest_answer(self, prompts: Prompts) -> int:
        """Expected tokens of the longest answer."""
        text = prompts.expected_answer_tokens if self.texts else 0
        return text + self.most_names * prompts.expected_name_tokens


def cost_rows(
    counts: Sequence[PromptCount], prompts: Prompts, prices: Prices
) -> list[dict[str, object]]:
    """One row for each source and extraction, and the total in the last one.

    Args:
      counts: the prompts.
      prompts: expected tokens of texts and names.
      prices: prices.
    """
    total = PromptCount("total", "", "")
    for count in counts:
        for name in ("prompts", "prompt_tokens", "texts", "names"):
            setattr(total, name, getattr(total, name) + getattr(count, name))
    return [
        {
            "source": count.source,
            "extraction": count.extraction,
            "prompts": count.prompts,
            "prompt_tokens": count.prompt_tokens,
            "answer_tokens": count.answer_tokens(prompts),
            "cost": prices.cost(count.prompt_tokens, count.answer_tokens(prompts)),
        }
        for count in (*counts, total)
    ]


def collective_saving(counts: Sequence[PromptCount]) -> dict[str, dict[str, object]]:
    """For each entity, how many times fewer calls collective extraction needs than individual."""
    saving: dict[str, dict[str, object]] = {}
    for entity in dict.fromkeys(count.entity for count in counts):
        calls = {
            extraction: sum(
                count.prompts
                for count in counts
                if (count.entity, count.extraction) == (entity, extraction)
            )
            for extraction in ("individual", "collective")
        }
        ratio = None
        if all(calls.values()):
            ratio = round(calls["individual"] / calls["collective"], 2)
        saving[entity] = {**calls, "individual_per_collective": ratio}
    return saving


def cost_table(
    rows: Sequence[Mapping[str, object]], saving: Mapping[str, Mapping[str, object]]
) -> str:
    """The rows and the saving for people."""
    head = ("source", "extraction", "prompts", "prompt tokens", "answer tokens", "US dollars")
    cells = [[_shown(value) for value in row.values()] for row in rows]
    lines = list(aligned(head, cells, numbers=range(2, len(head))))
    for entity, calls in saving.items():
        if calls["individual_per_collective"] is not None:
            lines.append(
                f"{entity}: {calls['collective']:,} collective calls instead of "
                f"{calls['individual']:,} individual ones, "
                f"{calls['individual_per_collective']}x fewer"
            )
    if any(row["cost"] is None for row in rows):
        lines.append(
            "No prices: set generation.price_input and generation.price_output, or give "
            "--price-input and --price-output (US dollars for a million tokens)"
        )
    return "\n".join(lines)


def _shown(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, float):
        return f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
