"""Times of SavedModels in TensorFlow's C++ runtime, without a server and without a transport."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from serving.c_api import CApiSession
from serving.client.inputs import InputKind, ModelInputs
from serving.loadtest.requests import RequestSource, signature_calls
from serving.protocol.messages import types_pb2

_KINDS = {types_pb2.DT_STRING: InputKind.STRINGS, types_pb2.DT_INT64: InputKind.INTEGERS}


class DirectModel(CApiSession):
    """A version in the loader that TensorFlow Serving uses; times only what that runs."""

    def inputs_of(
        self, source: RequestSource, signature: str, candidates: int, seed: int
    ) -> list[Mapping[str, np.ndarray]]:
        """Inputs of a signature, for each user of a source."""
        taken = self._signatures[signature].inputs
        kinds = {name: _KINDS.get(info.dtype, InputKind.NUMBERS) for name, info in taken.items()}
        model_inputs = ModelInputs.of_kinds(kinds)
        calls = signature_calls(source, signature, candidates, seed)
        return [call.inputs(model_inputs) for call in calls]

    def seconds(self, signature: str, inputs: Mapping[str, np.ndarray]) -> tuple[float, float]:
        """Wall time and processor time of one run, in seconds.

        Tensors are made before, as a server does when it parses the request.
        """
        arrays = [np.asarray(inputs[name]) for name in sorted(inputs)]
        fetched = self._fetched[signature]
        results = (ctypes.c_void_p * len(fetched))()
        with self._tensors(arrays) as tensors, self._status(f"'{signature}' cannot run") as status:
            arguments = (self._session, None, self._fed[signature], tensors, len(arrays))
            outputs = (fetched, results, len(fetched), None, 0, None, status)
            processor, started = time.process_time(), time.perf_counter()
            self._library.TF_SessionRun(*arguments, *outputs)
            seconds = time.perf_counter() - started, time.process_time() - processor
        for result in results:
            self._library.TF_DeleteTensor(result)
        return seconds


class Turns:
    """Programs that take turns, each a model and a signature with its inputs."""

    def __init__(self) -> None:
        """Starts without programs."""
        self._programs: dict[str, tuple[DirectModel, str, list[Mapping[str, np.ndarray]]]] = {}

    def add(
        self, name: str, model: DirectModel, signature: str, inputs: list[Mapping[str, np.ndarray]]
    ) -> Self:
        """Adds a program."""
        self._programs[name] = (model, signature, inputs)
        return self

    def run(self, rounds: int, runs: int) -> dict[str, list[np.ndarray]]:
        """Program -> wall and processor seconds [runs, 2] of each round; the order rotates.

        Args:
          rounds: counted rounds; one more before them is not.
          runs: of a program in a round.
        """
        names = list(self._programs)
        times: dict[str, list[np.ndarray]] = {name: [] for name in names}
        for number in range(rounds + 1):
            for name in _rotated(names, number):
                model, signature, inputs = self._programs[name]
                chosen = [inputs[run % len(inputs)] for run in range(runs)]
                seconds = np.array([model.seconds(signature, each) for each in chosen])
                if number:
                    times[name].append(seconds)
        return times


def loaded(versions: Mapping[str, Path]) -> dict[str, DirectModel]:
    """Arm -> its version, loaded."""
    return {arm: DirectModel(folder) for arm, folder in versions.items()}


def _rotated(names: Sequence[str], by: int) -> list[str]:
    index = by % len(names)
    return [*names[index:], *names[:index]]
