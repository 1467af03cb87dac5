"""Whether the settings of the section `generation` fit together."""

from __future__ import annotations

from configs.loading import ConfigurationError
from configs.prompting import Generation
from preprocessing.generation.addresses import require_address


def check_settings(
    settings: Generation, replay: tuple[str, ...], read_batch: tuple[str, ...]
) -> None:
    """Checks what no single key can tell.

    Args:
      settings: the section `generation`.
      replay: answer files of the client "replay".
      read_batch: batch result files to read.

    Raises:
      ConfigurationError: settings do not fit together.
    """
    if settings.client != "replay" and settings.model is None:
        example = "models/llm.gguf" if settings.client == "gguf" else "gpt-4o-mini"
        raise ConfigurationError(f"generation.model: name the LLM, e.g. --model {example}")
    if (settings.client == "replay") != bool(replay):
        raise ConfigurationError("--client replay and --replay FILE go together")
    if read_batch and settings.client != "batch-file":
        raise ConfigurationError("--read-batch needs --client batch-file")
    if settings.client == "openai":
        require_address("generation", settings.base_url, settings.api_key_variable)
