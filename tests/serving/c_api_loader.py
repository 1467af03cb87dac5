"""Runs a SavedModel through TensorFlow's C API, the loader that TensorFlow Serving is built on.

https://github.com/tensorflow/tensorflow/blob/master/tensorflow/c/c_api.h
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

_STRING_BYTES = 24
_STRING_TYPE = tf.string.as_datatype_enum


class _Output(ctypes.Structure):
    """TF_Output: an operation and the number of its output."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class CApiSession:
    """A session over a SavedModel, loaded and run by the C++ runtime without Python."""

    def __init__(self, folder: str | Path):
        """Loads the graph tagged for serving: restores variables, fills lookup tables."""
        self._library = _library()
        self._signatures = _signatures(Path(folder))
        self._status = self._library.TF_NewStatus()
        self._graph = self._library.TF_NewGraph()
        options = self._library.TF_NewSessionOptions()
        tags = (ctypes.c_char_p * 1)(tf.saved_model.SERVING.encode())
        self._session = self._library.TF_LoadSessionFromSavedModel(
            options, None, str(folder).encode(), tags, 1, self._graph, None, self._status
        )
        self._library.TF_DeleteSessionOptions(options)
        self._check()

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature; its outputs must be float32 or strings, which become `bytes`."""
        definition = self._signatures[signature]
        assert set(inputs) == set(definition.inputs)
        feeds = [self._output(definition.inputs[name].name) for name in inputs]
        tensors = [self._tensor(np.asarray(values)) for values in inputs.values()]
        names = sorted(definition.outputs)
        fetches = [self._output(definition.outputs[name].name) for name in names]
        results = (ctypes.c_void_p * len(names))()
        self._library.TF_SessionRun(
            *(self._session, None),
            *((_Output * len(feeds))(*feeds), (ctypes.c_void_p * len(feeds))(*tensors)),
            *(len(feeds), (_Output * len(fetches))(*fetches), results, len(fetches)),
            *(None, 0, None, self._status),
        )
        for tensor in tensors:
            self._library.TF_DeleteTensor(tensor)
        self._check()
        return {name: self._array(result) for name, result in zip(names, results, strict=True)}

    def close(self) -> None:
        """Frees session and graph."""
        self._library.TF_CloseSession(self._session, self._status)
        self._library.TF_DeleteSession(self._session, self._status)
        self._library.TF_DeleteGraph(self._graph)
        self._library.TF_DeleteStatus(self._status)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _output(self, tensor_name: str) -> _Output:
        operation, _, index = tensor_name.partition(":")
        found = self._library.TF_GraphOperationByName(self._graph, operation.encode())
        assert found, f"no operation '{operation}'"
        return _Output(found, int(index))

    def _tensor(self, values: np.ndarray) -> int:
        if values.dtype.kind in "OSU":
            return self._string_tensor(values)
        values = np.ascontiguousarray(values, np.float32)
        tensor = self._allocate(tf.float32.as_datatype_enum, values.shape, values.nbytes)
        ctypes.memmove(self._library.TF_TensorData(tensor), values.ctypes.data, values.nbytes)
        return tensor

    def _string_tensor(self, values: np.ndarray) -> int:
        tensor = self._allocate(_STRING_TYPE, values.shape, values.size * _STRING_BYTES)
        start = self._library.TF_TensorData(tensor)
        for position, value in enumerate(values.ravel()):
            text = value if isinstance(value, bytes) else str(value).encode()
            place = start + position * _STRING_BYTES
            self._library.TF_StringInit(place)
            self._library.TF_StringCopy(place, text, len(text))
        return tensor

    def _allocate(self, type_number: int, shape: tuple[int, ...], num_bytes: int) -> int:
        dimensions = (ctypes.c_int64 * len(shape))(*shape)
        return self._library.TF_AllocateTensor(type_number, dimensions, len(shape), num_bytes)

    def _array(self, tensor: int) -> np.ndarray:
        shape = [
            self._library.TF_Dim(tensor, axis) for axis in range(self._library.TF_NumDims(tensor))
        ]
        start = self._library.TF_TensorData(tensor)
        if self._library.TF_TensorType(tensor) == _STRING_TYPE:
            places = range(start, start + int(np.prod(shape)) * _STRING_BYTES, _STRING_BYTES)
            values = np.array([self._text(place) for place in places], dtype=object)
        else:
            assert self._library.TF_TensorType(tensor) == tf.float32.as_datatype_enum
            size = self._library.TF_TensorByteSize(tensor)
            values = np.frombuffer(ctypes.string_at(start, size), np.float32)
        self._library.TF_DeleteTensor(tensor)
        return values.reshape(shape)

    def _text(self, place: int) -> bytes:
        size = self._library.TF_StringGetSize(place)
        return ctypes.string_at(self._library.TF_StringGetDataPointer(place), size)

    def _check(self) -> None:
        if self._library.TF_GetCode(self._status) != 0:
            raise RuntimeError(self._library.TF_Message(self._status).decode())


def _signatures(folder: Path) -> dict[str, Any]:
    saved_model = saved_model_pb2.SavedModel.FromString((folder / "saved_model.pb").read_bytes())
    (graph,) = saved_model.meta_graphs
    return dict(graph.signature_def)


@functools.cache
def _library() -> ctypes.CDLL:
    folder = Path(tf.sysconfig.get_lib())
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"))
    pointer, number, text = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
    prototypes: dict[str, tuple[Any, list[Any]]] = {
        "TF_NewStatus": (pointer, []),
        "TF_DeleteStatus": (None, [pointer]),
        "TF_GetCode": (number, [pointer]),
        "TF_Message": (text, [pointer]),
        "TF_NewGraph": (pointer, []),
        "TF_DeleteGraph": (None, [pointer]),
        "TF_NewSessionOptions": (pointer, []),
        "TF_DeleteSessionOptions": (None, [pointer]),
        "TF_LoadSessionFromSavedModel": (
            pointer,
            [pointer, pointer, text, ctypes.POINTER(text), number, pointer, pointer, pointer],
        ),
        "TF_CloseSession": (None, [pointer, pointer]),
        "TF_DeleteSession": (None, [pointer, pointer]),
        "TF_GraphOperationByName": (pointer, [pointer, text]),
        "TF_SessionRun": (
            None,
            [pointer, pointer]
            + [ctypes.POINTER(_Output), ctypes.POINTER(pointer), number] * 2
            + [pointer, number, pointer, pointer],
        ),
        "TF_AllocateTensor": (
            pointer,
            [number, ctypes.POINTER(ctypes.c_int64), number, ctypes.c_size_t],
        ),
        "TF_DeleteTensor": (None, [pointer]),
        "TF_TensorData": (pointer, [pointer]),
        "TF_TensorByteSize": (ctypes.c_size_t, [pointer]),
        "TF_TensorType": (number, [pointer]),
        "TF_NumDims": (number, [pointer]),
        "TF_Dim": (ctypes.c_int64, [pointer, number]),
        "TF_StringInit": (None, [pointer]),
        "TF_StringCopy": (None, [pointer, text, ctypes.c_size_t]),
        "TF_StringGetSize": (ctypes.c_size_t, [pointer]),
        "TF_StringGetDataPointer": (pointer, [pointer]),
    }
    for name, (result, arguments) in prototypes.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library
