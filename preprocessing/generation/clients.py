"""The client that the settings name, and whether they fit together."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from configs.loading import ConfigurationError
from configs.openai_connection import ApiKey, require_address
from configs.prompting import Generation
from preprocessing.answers.completion import ChatResponse
from preprocessing.generation.answer_store import Acceptance
from preprocessing.generation.chat import ChatParameters, ChatRequest
from preprocessing.generation.client import AnswerClient, Budget, stop_on_interrupt
from preprocessing.generation.endpoint_client import CallLimits, EndpointClient, OpenAIEndpoint
from preprocessing.generation.file_clients import BatchFileClient, BatchResultClient, ReplayClient
from preprocessing.generation.gguf import GgufModel, open_llama, require_llama_cpp
from preprocessing.generation.outputs import schemas_of_prompts
from preprocessing.prompting.token_costs import Prices


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


@dataclass(frozen=True)
class ClientFiles:
    """Files of the clients that read or write some.

    Attributes:
      prompts: the prompt file.
      replay: answer files of the client "replay".
      read_batch: batch result files; no batch requests are written when there are any.
      batch_folder: where batch request files belong.
    """

    prompts: str
    replay: tuple[str, ...]
    read_batch: tuple[str, ...]
    batch_folder: Path


@contextlib.contextmanager
def open_client(
    settings: Generation,
    parameters: ChatParameters,
    acceptance: Acceptance,
    files: ClientFiles,
    calls: int,
) -> Iterator[AnswerClient]:
    """Opens a client for one run.

    Args:
      settings: which client, and its limits.
      parameters: model and parameters of all requests.
      acceptance: which answers are asked for again.
      files: files of the clients that read or write some.
      calls: calls that the run will make if nothing goes wrong.

    Raises:
      CommandError: a package that the client needs is not installed.
    """
    prices = Prices(settings.price_input, settings.price_output)
    budget = Budget(settings.budget_tokens, settings.budget_usd, prices)
    if settings.client == "replay":
        yield ReplayClient(files.replay, parameters.model, parameters.schema is not None)
    elif settings.client == "batch-file" and files.read_batch:
        schemas = functools.partial(schemas_of_prompts, files.prompts)
        yield BatchResultClient(files.read_batch, budget, acceptance, schemas)
    elif settings.client == "batch-file":
        yield BatchFileClient(
            files.batch_folder, parameters, settings.requests_per_batch_file, budget
        )
    else:
        with stop_on_interrupt() as stop:
            model, limits = _called_model(settings, parameters, calls, stop)
            with contextlib.closing(model):
                yield EndpointClient(
                    model.complete, parameters, acceptance, limits, budget, stop, calls
                )


class _CalledModel(Protocol):
    """An LLM that answers one prompt a call."""

    def complete(self, request: ChatRequest) -> ChatResponse:
        """Calls once; raises CallFailed without an answer."""
        ...

    def close(self) -> None:
        """Frees what calls needed."""
        ...


def _called_model(
    settings: Generation, parameters: ChatParameters, calls: int, stop: threading.Event
) -> tuple[_CalledModel, CallLimits]:
    """The LLM, and how hard it is used."""
    if settings.client == "gguf":
        if calls:
            require_llama_cpp()
        open_model = functools.partial(open_llama, str(settings.model))
        # One call at a time, and a failure in this process fails again.
        limits = CallLimits(1, 0, 0.0, settings.stop_after_failures)
        return GgufModel(open_model, parameters.model, parameters), limits
    endpoint = OpenAIEndpoint(
        settings.base_url,
        ApiKey.from_environment("generation", settings.api_key_variable),
        parameters,
        settings.timeout_seconds,
        stop,
    )
    limits = CallLimits(
        settings.concurrency,
        settings.retries,
        settings.retry_delay_seconds,
        settings.stop_after_failures,
    )
    return endpoint, limits
