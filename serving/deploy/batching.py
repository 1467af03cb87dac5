"""Batching of requests in the server: settings, and the file with what each number trades."""

from __future__ import annotations

import textwrap

from pydantic import Field, model_validator

from configs.section import Section


class Batching(Section):
    """TensorFlow Serving's batching of requests, off unless asked for: see `WHERE_IT_WORKS`."""

    enabled: bool = Field(
        False,
        description="whether requests are batched. Off for models that are asked by `rank`, which "
        "batching refuses; `rank` is a batch by itself",
    )
    max_batch_size: int = Field(
        1024,
        description="rows of the largest request; larger ones are refused. A guard against "
        "requests that hold a thread for long",
        ge=1,
    )
    max_execution_batch_size: int = Field(
        256,
        description="rows that run together; larger requests are split. More rows a run raise "
        "throughput until the CPUs are busy, and every row waits for the whole run",
        ge=1,
    )
    batch_timeout_micros: int = Field(
        1000,
        description="how long a request waits for company, in microseconds. All of it is added to "
        "the latency of a quiet server; 0 batches only what is already waiting",
        ge=0,
    )
    num_batch_threads: int | None = Field(
        None,
        description="batches that run at a time; the CPUs when left out. More overlap short runs, "
        "and beyond the CPUs they only slow each other down",
        ge=1,
    )
    max_enqueued_batches: int = Field(
        100,
        description="batches that may wait, for each model version and signature; beyond, requests "
        "fail at once with UNAVAILABLE. Fewer fail early and keep latency bounded, more ride out "
        "bursts",
        ge=1,
    )
    allowed_batch_sizes: tuple[int, ...] = Field(
        (),
        description="runs are filled up to the next of these sizes with copies of a row. Only "
        "worth the wasted rows where every size is compiled (XLA, TensorRT). Ascending; the last, "
        "max_batch_size and max_execution_batch_size must be equal, as some releases demand",
    )
    pad_variable_length_inputs: bool = Field(
        False,
        description="whether shorter inputs of a batch are filled up by the server; wrong for "
        "histories and candidates, see the file",
    )

    @model_validator(mode="after")
    def _sizes_fit(self) -> Batching:
        sizes = self.allowed_batch_sizes
        if self.max_execution_batch_size > self.max_batch_size:
            raise ValueError(
                "batching.max_execution_batch_size must not exceed batching.max_batch_size"
            )
        if sizes and (list(sizes) != sorted(set(sizes)) or sizes[0] < 1):
            raise ValueError(
                f"batching.allowed_batch_sizes must ascend from 1 or more. Received: {list(sizes)}"
            )
        if sizes and not sizes[-1] == self.max_execution_batch_size == self.max_batch_size:
            raise ValueError(
                f"batching.allowed_batch_sizes ends with {sizes[-1]}; max_batch_size "
                f"({self.max_batch_size}) and max_execution_batch_size "
                f"({self.max_execution_batch_size}) must be the same number"
            )
        return self


WHERE_IT_WORKS = """\
The server joins requests of one signature row by row. So all inputs of a request must have the
same number of rows, and in all requests that meet in a batch an input must have the same further
lengths.

  rank            one user and many candidates: every request is refused ("Batching Run() input
                  tensors must have equal 0th-dimension size"). Leave batching off where it is
                  asked; it is a batch by itself.
  classify, regress, predict_examples
                  serialized tf.Examples, one a row: works, whatever the histories. A re-ranker's
                  answers are as long as the longest list of the batch.
  serving_default, top_k, user_vectors
                  works when all clients send histories (and lists) of one agreed length, filled
                  up with "" and 0. Where lengths differ, all requests of the batch fail
                  (FAILED_PRECONDITION)."""

_PADDING = """\
Must stay false. The model skips "" wherever it stands in a history, but the server does not fill
up with "": it repeats the input's first element behind the others. The oldest interaction would
come back as the newest, and the first candidate of a list as further candidates. Let clients
fill histories up to one length instead."""

_PADDING_ON = """\
CAUTION: switched on. The server fills shorter inputs up by repeating their first element. So
every history must begin with "" and 0, or its oldest interaction comes back as the newest; and
nothing else may be a list of varying length: neither candidates nor values of a profile."""


def batching_config(batching: Batching, cpu_threads: int) -> str:
    """The file for `--batching_parameters_file`: tensorflow.serving.BatchingParameters as text.

    Args:
      batching: the settings.
      cpu_threads: CPUs of a replica, for what is left out.
    """
    if batching.enabled:
        state = "In use."
    else:
        state = "Not in use: batching.enabled is false, and the server starts without it."
    values = {
        "max_batch_size": batching.max_batch_size,
        "enable_large_batch_splitting": "true",
        "max_execution_batch_size": batching.max_execution_batch_size,
        "batch_timeout_micros": batching.batch_timeout_micros,
        "num_batch_threads": batching.num_batch_threads or cpu_threads,
        "max_enqueued_batches": batching.max_enqueued_batches,
        "thread_pool_name": '"ranking_batches"',
    }
    explained = {
        "enable_large_batch_splitting": "requests above max_execution_batch_size are split instead "
        "of refused.",
        "thread_pool_name": "the name of this pool in the metrics.",
    }
    blocks = [_comment(f"Batching of requests. {state}"), _comment(WHERE_IT_WORKS, wrap=False), ""]
    for name, value in values.items():
        blocks += [_trade(name, explained), f"{name} {{ value: {value} }}", ""]
    blocks.append(_trade("allowed_batch_sizes", explained))
    blocks += [f"allowed_batch_sizes: {size}" for size in batching.allowed_batch_sizes] or [
        "# (none)"
    ]
    padding = batching.pad_variable_length_inputs
    blocks += ["", _comment(_PADDING_ON if padding else _PADDING, wrap=False)]
    blocks.append(f"pad_variable_length_inputs: {str(padding).lower()}")
    return "\n".join(blocks) + "\n"


def _trade(name: str, explained: dict[str, str]) -> str:
    text = explained.get(name) or f"{Batching.model_fields[name].description}."
    return _comment(text[0].upper() + text[1:])


def _comment(text: str, wrap: bool = True) -> str:
    lines = textwrap.wrap(text, 97) if wrap else text.splitlines()
    return "\n".join(f"# {line}".rstrip() for line in lines)
