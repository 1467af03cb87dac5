"""Client `gguf`: a model file in this process, through llama-cpp-python."""

from __future__ import annotations

import importlib.util
import json
import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from configs.command_line import CommandError, say
from configs.files import file_sha256, replaced_when_complete
from configs.loading import ConfigurationError
from configs.openai_connection import EndpointUnusable, RequestRefused
from preprocessing.answers.completion import ChatResponse, response_of
from preprocessing.answers.record import RejectedAnswer
from preprocessing.generation.chat import ChatParameters, ChatRequest

_MAGIC = b"GGUF"
_LARGE_BYTES = 1 << 30


@dataclass(frozen=True)
class GgufFile:
    """A model file whose content is known.

    Attributes:
      path: its absolute path.
      bytes: its size.
      modified_ns: time of its last change, nanoseconds.
      sha256: SHA-256 of its content.
    """

    path: str
    bytes: int
    modified_ns: int
    sha256: str

    @property
    def name(self) -> str:
        """File name and hash: the same file has the same name wherever it lies."""
        return f"{Path(self.path).name}@sha256:{self.sha256}"

    def is_still(self, path: Path, status: os.stat_result) -> bool:
        """True when the file at a path has not changed since it was hashed."""
        remembered = (self.path, self.bytes, self.modified_ns)
        return remembered == (str(path), status.st_size, status.st_mtime_ns)

    def remember(self, cache: Path) -> None:
        """Writes the hash down, so that an unchanged file need not be read for it again."""
        with replaced_when_complete(cache) as path:
            path.write_text(json.dumps(asdict(self), indent=2) + "\n", encoding="utf-8")


def read_gguf_file(model: str, cache: Path) -> GgufFile:
    """Hashes a model file, or takes the hash from the cache if size and time are unchanged.

    Args:
      model: path of the file (`generation.model`).
      cache: what `GgufFile.remember` wrote; need not exist.

    Raises:
      ConfigurationError: there is no such file, or it is no GGUF file.
    """
    path = Path(model).absolute()
    try:
        with path.open("rb") as file:
            magic = file.read(len(_MAGIC))
        status = path.stat()
    except OSError as error:
        raise ConfigurationError(
            f"generation.model: '{model}' cannot be read ({error.strerror or error}); the client "
            f"gguf needs the path of a model file (relative paths start at {Path.cwd()})"
        ) from error
    if magic != _MAGIC:
        raise ConfigurationError(
            f"generation.model: '{model}' is no GGUF file (it does not begin with 'GGUF')"
        )
    remembered = _remembered(cache)
    if remembered is not None and remembered.is_still(path, status):
        return remembered
    if status.st_size > _LARGE_BYTES:
        say(f"hashing {path.name}, {status.st_size / 1e9:.1f} GB, once")
    return GgufFile(str(path), status.st_size, status.st_mtime_ns, file_sha256(path))


def _remembered(cache: Path) -> GgufFile | None:
    try:
        return GgufFile(**json.loads(cache.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


_SMALLEST_WINDOW = 2048
_TEMPLATE_TOKENS = 256
"""Room for what a chat template adds: roles, a system message of its own."""

_CONTEXT_LENGTH = "context_length"


class LoadedModel(Protocol):
    """What is used of `llama_cpp.Llama`.

    Attributes:
      metadata: keys and values of the file's header.
    """

    metadata: Mapping[str, str]

    def tokenize(self, text: bytes, add_bos: bool = True, special: bool = False) -> list[int]:
        """Token ids of a text."""
        ...

    def reset(self) -> None:
        """Forgets all messages."""
        ...

    def create_chat_completion(self, messages: list[dict[str, str]], **options: Any) -> object:
        """A chat completion object."""
        ...

    def close(self) -> None:
        """Frees the memory."""
        ...


def require_llama_cpp() -> None:
    """Checks that llama-cpp-python is there.

    Raises:
      CommandError: it is not installed.
    """
    if importlib.util.find_spec("llama_cpp") is None:
        raise CommandError(
            "generation.client: gguf needs llama-cpp-python; install it with "
            "'pip install -r requirements-gguf.txt' (it is compiled, which takes minutes)"
        )


def open_llama(path: str, window: int) -> LoadedModel:
    """Loads a model file.

    Args:
      path: the file.
      window: tokens of a prompt and its answer together, at most.

    Raises:
      ValueError: llama.cpp cannot read the file.
    """
    import llama_cpp

    threads = len(os.sched_getaffinity(0))
    return llama_cpp.Llama(
        path,
        n_ctx=window,
        n_gpu_layers=-1,
        n_threads=threads,
        n_threads_batch=threads,
        verbose=False,
    )


class GgufModel:
    """A model file that answers chats; may be called by several threads.

    The model is opened at the first call, with a window that fits it, and again with a larger one
    when a later prompt needs that.

    Args:
      open_model: loads the model with a window of so many tokens; see `open_llama`.
      name: the model's name in answers.
      parameters: parameters of all requests.
    """

    def __init__(
        self, open_model: Callable[[int], LoadedModel], name: str, parameters: ChatParameters
    ):
        self._open_model = open_model
        self._name = name
        self._parameters = parameters
        self._model: LoadedModel | None = None
        self._window = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Frees the model's memory."""
        with self._lock:
            if self._model is not None:
                self._model.close()
                self._model = None

    def complete(self, request: ChatRequest) -> ChatResponse:
        """Answers one prompt, whatever was asked before.

        Raises:
          RequestRefused: the prompt is too long for the model, or the model fails on it.
          EndpointUnusable: the model file cannot be loaded.
        """
        body = self._parameters.body(request.prompt)
        messages: list[dict[str, str]] = body["messages"]
        options: dict[str, Any] = {"max_tokens": self._parameters.max_tokens}
        if self._parameters.temperature is not None:
            options["temperature"] = self._parameters.temperature
        if (schema := self._parameters.sent_schema(request.schema)) is not None:
            options["response_format"] = {"type": "json_object", "schema": dict(schema.document)}
        with self._lock:
            model = self._model_with_room_for(messages)
            # Tokens that two prompts begin with would be computed once, with rounding that depends
            # on the order of the prompts.
            model.reset()
            try:
                completion = model.create_chat_completion(messages, **options)
            # The template in a model file is a program of its own, and llama.cpp has many errors.
            except Exception as error:
                raise RequestRefused("model_failed", f"{type(error).__name__}: {error}") from error
        estimate = self._parameters.prompt_tokens_estimate(request.prompt)
        try:
            response = response_of(completion, estimate)
        except RejectedAnswer as error:
            raise RequestRefused("malformed_response", error.detail) from error
        return replace(response, answered_by=self._name)

    def _model_with_room_for(self, messages: list[dict[str, str]]) -> LoadedModel:
        """The model, opened with a window for the messages and the longest answer."""
        model = self._model or self._open(_SMALLEST_WINDOW)
        prompt = sum(
            len(model.tokenize(message["content"].encode(), add_bos=False)) for message in messages
        )
        needed = prompt + _TEMPLATE_TOKENS + self._parameters.max_tokens
        longest = _trained_window(model)
        if longest is not None and needed > longest:
            raise RequestRefused(
                "prompt_too_long",
                f"{prompt} tokens; with the chat template and generation.max_tokens = "
                f"{self._parameters.max_tokens} that is more than the model's {longest}",
            )
        if needed <= self._window:
            return model
        window = 1 << (needed - 1).bit_length()
        return self._open(window if longest is None else min(window, longest))

    def _open(self, window: int) -> LoadedModel:
        if self._model is not None:
            self._model.close()
            self._model = None
        try:
            self._model = self._open_model(window)
        except (ValueError, RuntimeError, OSError, MemoryError) as error:
            raise EndpointUnusable(
                "model_not_loaded",
                f"{self._name} cannot be loaded with a window of {window} tokens ({error})",
            ) from error
        self._window = window
        return self._model


def _trained_window(model: LoadedModel) -> int | None:
    """Tokens that the model was trained to read at once; None if the file does not say."""
    architecture = model.metadata.get("general.architecture", "")
    length = model.metadata.get(f"{architecture}.{_CONTEXT_LENGTH}", "")
    return int(length) if length.isdecimal() else None
