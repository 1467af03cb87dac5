"""Prompts that were sent to an LLM, to find out what its answers are about."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from configs.command_line import CommandError
from preprocessing.generation.prompts import Prompt, read_prompts


def read_asked_prompts(paths: Sequence[str]) -> Mapping[str, Prompt]:
    """Custom id -> prompt of all prompt files, as `prompts` writes them.

    Raises:
      CommandError: a line is no prompt, or two prompts have the same custom id.
    """
    prompts: dict[str, Prompt] = {}
    for path in paths:
        for prompt in read_prompts(path):
            if not isinstance(prompt, Prompt):
                raise CommandError(
                    f"{path}: line {prompt['line']}: {prompt['reason']}: {prompt['detail']}"
                )
            if prompt.custom_id in prompts:
                raise CommandError(
                    f"{path}: line {prompt.line}: another prompt file has this custom_id"
                )
            prompts[prompt.custom_id] = prompt
    return prompts
