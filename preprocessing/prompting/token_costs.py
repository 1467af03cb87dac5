"""What the prompts will cost, estimated before anything is spent.

A prompt's tokens are estimated; answers are taken to have the configured length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_PRICED_TOKENS = 1_000_000


@dataclass(frozen=True)
class Prices:
    """US dollars for a million tokens; None where nobody said.

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


@dataclass(frozen=True)
class PromptCount:
    """Prompts of one source and extraction.

    Attributes:
      source: name of the source.
      entity: "item" or "user".
      extraction: "individual" or "collective".
      prompts: number of prompts.
      prompt_tokens: estimated sum.
    """

    source: str
    entity: str
    extraction: str
    prompts: int
    prompt_tokens: int


def cost_rows(
    counts: Sequence[PromptCount], answer_tokens: int, prices: Prices
) -> list[dict[str, object]]:
    """One row for each source and extraction, and the total in the last one.

    Args:
      counts: the prompts.
      answer_tokens: expected tokens of an answer.
      prices: prices.
    """
    rows = [
        _row(
            count.source,
            count.extraction,
            count.prompts,
            count.prompt_tokens,
            answer_tokens,
            prices,
        )
        for count in counts
    ]
    prompts = sum(count.prompts for count in counts)
    tokens = sum(count.prompt_tokens for count in counts)
    return [*rows, _row("total", "", prompts, tokens, answer_tokens, prices)]


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
    cells = [head, *(tuple(_shown(value) for value in row.values()) for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(head))]
    lines = []
    for line in cells:
        texts = [text.ljust(width) for text, width in zip(line[:2], widths[:2], strict=True)]
        numbers = [text.rjust(width) for text, width in zip(line[2:], widths[2:], strict=True)]
        lines.append("  ".join([*texts, *numbers]))
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


def _row(
    source: str,
    extraction: str,
    prompts: int,
    prompt_tokens: int,
    tokens_per_answer: int,
    prices: Prices,
) -> dict[str, object]:
    answer_tokens = prompts * tokens_per_answer
    return {
        "source": source,
        "extraction": extraction,
        "prompts": prompts,
        "prompt_tokens": prompt_tokens,
        "answer_tokens": answer_tokens,
        "cost": prices.cost(prompt_tokens, answer_tokens),
    }


def _shown(value: object) -> str:
    if value is None:
        return "?"
    if isinstance(value, float):
        return f"{value:,.4f}"
    return f"{value:,}" if isinstance(value, int) else str(value)
