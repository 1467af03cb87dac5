"""A SavedModel run through TensorFlow's C API, the loader that TensorFlow Serving is built on."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2

from configs.command_line import CommandError


def signature_definitions(version_folder: Path) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Signature -> its definition, of the graph for serving; TensorFlow's own are left out.

    Raises:
      CommandError: see `serving_graph`.
    """
    return callable_definitions(serving_graph(version_folder))


def callable_definitions(
    graph: meta_graph_pb2.MetaGraphDef,
) -> dict[str, meta_graph_pb2.SignatureDef]:
    """Signature -> its definition, without the initialization that TensorFlow stores among them."""
    return {
        name: definition
        for name, definition in graph.signature_def.items()
        if not name.startswith("__")
    }


def serving_graph(version_folder: Path) -> meta_graph_pb2.MetaGraphDef:
    """The graph for serving.

    Raises:
      CommandError: the folder has no readable SavedModel with such a graph.
    """
    path = version_folder / "saved_model.pb"
    saved_model = saved_model_pb2.SavedModel()
    try:
        saved_model.ParseFromString(path.read_bytes())
    except Exception as error:  # Of the file system or of the message, which has no public base.
        raise CommandError(f"{path} cannot be read ({error}); export again") from error
    for graph in saved_model.meta_graphs:
        if tf.saved_model.SERVING in graph.meta_info_def.tags:
            return graph
    raise CommandError(f"{path} has no graph tagged '{tf.saved_model.SERVING}'; export again")


def require_variables(version_folder: Path, graph: meta_graph_pb2.MetaGraphDef) -> None:
    """Makes sure that the graph's variables are there, which the C++ runtime loads without.

    Raises:
      CommandError: there is no checkpoint, and the graph has variables.
    """
    index = version_folder / "variables" / "variables.index"
    if not index.exists() and any(node.op == "VarHandleOp" for node in graph.graph_def.node):
        raise CommandError(f"{index} is missing; export again, or wait for the end of the copy")


_FRAMEWORK, _RUNTIME = "libtensorflow_framework.so.2", "libtensorflow_cc.so.2"


class Output(ctypes.Structure):
    """TF_Output: an operation and the number of its output."""

    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


_POINTER, _NUMBER, _TEXT, _SIZE = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t
_MANY_OUTPUTS, _MANY_POINTERS = ctypes.POINTER(Output), ctypes.POINTER(ctypes.c_void_p)

# Name -> type of the result, types of the arguments, as c_api.h and tf_tensor.h declare them.
_PROTOTYPES: dict[str, tuple[Any, list[Any]]] = {
    "TF_NewStatus": (_POINTER, []),
    "TF_DeleteStatus": (None, [_POINTER]),
    "TF_GetCode": (_NUMBER, [_POINTER]),
    "TF_Message": (_TEXT, [_POINTER]),
    "TF_NewGraph": (_POINTER, []),
    "TF_DeleteGraph": (None, [_POINTER]),
    "TF_NewSessionOptions": (_POINTER, []),
    "TF_DeleteSessionOptions": (None, [_POINTER]),
    "TF_SetConfig": (None, [_POINTER, _TEXT, _SIZE, _POINTER]),
    "TF_NewSession": (_POINTER, [_POINTER, _POINTER, _POINTER]),
    "TF_LoadSessionFromSavedModel": (
        _POINTER,
        [_POINTER, _POINTER, _TEXT, ctypes.POINTER(_TEXT), _NUMBER, _POINTER, _POINTER, _POINTER],
    ),
    "TF_CloseSession": (None, [_POINTER, _POINTER]),
    "TF_DeleteSession": (None, [_POINTER, _POINTER]),
    "TF_GraphOperationByName": (_POINTER, [_POINTER, _TEXT]),
    "TF_SessionRun": (
        None,
        [_POINTER, _POINTER]
        + [_MANY_OUTPUTS, _MANY_POINTERS, _NUMBER] * 2
        + [_POINTER, _NUMBER, _POINTER, _POINTER],
    ),
    "TF_AllocateTensor": (_POINTER, [_NUMBER, ctypes.POINTER(ctypes.c_int64), _NUMBER, _SIZE]),
    "TF_DeleteTensor": (None, [_POINTER]),
    "TF_TensorData": (_POINTER, [_POINTER]),
    "TF_TensorByteSize": (_SIZE, [_POINTER]),
    "TF_TensorType": (_NUMBER, [_POINTER]),
    "TF_NumDims": (_NUMBER, [_POINTER]),
    "TF_Dim": (ctypes.c_int64, [_POINTER, _NUMBER]),
    "TF_StringInit": (None, [_POINTER]),
    "TF_StringCopy": (None, [_POINTER, _TEXT, _SIZE]),
    "TF_StringGetSize": (_SIZE, [_POINTER]),
    "TF_StringGetDataPointer": (_POINTER, [_POINTER]),
}


# These take long, and other threads of Python run meanwhile. To give Python's lock away and to wait
# for it again would take longer than any of the others.
_LONG = (
    "TF_NewSession",
    "TF_LoadSessionFromSavedModel",
    "TF_SessionRun",
    "TF_CloseSession",
    "TF_DeleteSession",
    "TF_DeleteGraph",
)


@functools.cache
def library() -> SimpleNamespace:
    """The library's functions by name, typed.

    Raises:
      CommandError: the installed package has no such library, as on macOS and Windows.
    """
    folder = Path(tf.sysconfig.get_lib())
    try:
        # The runtime finds the framework's symbols only where these are global.
        ctypes.CDLL(str(folder / _FRAMEWORK), mode=ctypes.RTLD_GLOBAL)
        long_running = ctypes.CDLL(str(folder / _RUNTIME))
        short = ctypes.PyDLL(str(folder / _RUNTIME))
    except OSError as error:
        raise CommandError(
            f"TensorFlow's C API cannot be used ({error}); the server and the proof of an export "
            "need a Linux package of TensorFlow (export without it: --proof none)"
        ) from error
    functions = SimpleNamespace()
    for name, (result, arguments) in _PROTOTYPES.items():
        function = getattr(long_running if name in _LONG else short, name)
        function.restype, function.argtypes = result, arguments
        setattr(functions, name, function)
    return functions


STRING_BYTES = 24
_MOST_INSIDE = 22


def encoded(values: np.ndarray) -> list[bytes]:
    """Strings as a tensor has them, row by row.

    Args:
      values: `bytes`, or texts that become UTF-8; any shape.

    Raises:
      UnicodeEncodeError: a text is none of Unicode: it has half of a pair of surrogates.
    """
    return [
        text if isinstance(text, bytes) else str(text).encode() for text in values.ravel().tolist()
    ]


def write_strings(start: int, texts: Sequence[bytes]) -> None:
    """Fills a tensor's memory, all short strings at once.

    Args:
      start: the memory's address; `STRING_BYTES` for each text.
      texts: row by row.
    """
    if not texts:
        return
    sizes = np.fromiter(map(len, texts), np.int64, len(texts))
    memory = np.ctypeslib.as_array(
        ctypes.cast(start, ctypes.POINTER(ctypes.c_uint8)), (len(texts), STRING_BYTES)
    )
    memory[:, 0] = sizes << 2
    memory[:, 1:-1] = np.array(texts, f"S{_MOST_INSIDE}").view(np.uint8).reshape(-1, _MOST_INSIDE)
    memory[:, -1] = 0
    for position in np.flatnonzero(sizes > _MOST_INSIDE).tolist():
        address = start + position * STRING_BYTES
        library().TF_StringInit(address)
        library().TF_StringCopy(address, texts[position], len(texts[position]))


def read_strings(start: int, count: int) -> list[bytes]:
    """The strings in a tensor's memory at `start`."""
    return [_text(start + position * STRING_BYTES) for position in range(count)]


def _text(address: int) -> bytes:
    size = library().TF_StringGetSize(address)
    return ctypes.string_at(library().TF_StringGetDataPointer(address), size)


_STRING_TYPE = tf.string.as_datatype_enum


class CApiError(CommandError):
    """The C++ runtime cannot load a SavedModel, or refuses to run.

    Attributes:
      code: TensorFlow's status code.
      reason: TensorFlow's message.
    """

    def __init__(self, what: str, code: int, reason: str):
        super().__init__(f"{what} by TensorFlow's C API ({reason})")
        self.code = code
        self.reason = reason


class CApiSession:
    """A session over a SavedModel, loaded and run by the C++ runtime without Python.

    Close it, or use it in a `with`. Many threads may run signatures at once; none may when it is
    closed.
    """

    def __init__(self, folder: str | Path, configuration: bytes = b""):
        """Loads the graph tagged for serving: restores variables, fills lookup tables.

        Args:
          folder: the SavedModel.
          configuration: a serialized `tensorflow.ConfigProto`.

        Raises:
          CommandError: there is no readable SavedModel.
          CApiError: the C++ runtime cannot load it.
        """
        self._library = library()
        self._session: int | None = None
        self._signatures = signature_definitions(Path(folder))
        self._graph: int | None = self._library.TF_NewGraph()
        options = self._library.TF_NewSessionOptions()
        try:
            with self._status(f"{folder} cannot be loaded") as status:
                self._library.TF_SetConfig(options, configuration, len(configuration), status)
            tags = (ctypes.c_char_p * 1)(tf.saved_model.SERVING.encode())
            with self._status(f"{folder} cannot be loaded") as status:
                self._session = self._library.TF_LoadSessionFromSavedModel(
                    options, None, str(folder).encode(), tags, 1, self._graph, None, status
                )
        except CApiError:
            self.close()
            raise
        finally:
            self._library.TF_DeleteSessionOptions(options)
        # Signature -> places in the graph of its inputs and outputs, both in the order of names.
        self._fed = {
            name: self._places(definition.inputs) for name, definition in self._signatures.items()
        }
        self._fetched = {
            name: self._places(definition.outputs) for name, definition in self._signatures.items()
        }

    def run(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Runs a signature.

        Args:
          signature: which one.
          inputs: all of its inputs; numbers are converted to the type that it takes.

        Returns:
          Output -> values; strings are `bytes` in arrays of objects.

        Raises:
          CommandError: there is no such signature or input.
          UnicodeEncodeError: a text is none of Unicode.
          CApiError: the runtime refuses to run.
        """
        if signature not in self._signatures:
            raise CommandError(f"there is no signature '{signature}'")
        definition = self._signatures[signature]
        if set(inputs) != set(definition.inputs):
            raise CommandError(
                f"signature '{signature}' takes {', '.join(sorted(definition.inputs))}. Received: "
                f"{', '.join(sorted(inputs))}"
            )
        arrays = [_as_taken(inputs[name], definition.inputs[name].dtype) for name in sorted(inputs)]
        names = sorted(definition.outputs)
        results = (ctypes.c_void_p * len(names))()
        with (
            self._tensors(arrays) as tensors,
            self._status(f"signature '{signature}' cannot be run") as status,
        ):
            self._library.TF_SessionRun(
                *(self._session, None, self._fed[signature], tensors, len(arrays)),
                *(self._fetched[signature], results, len(names), None, 0, None, status),
            )
        return {name: self._array(result) for name, result in zip(names, results, strict=True)}

    def close(self) -> None:
        """Frees session and graph."""
        if self._session:
            with self._status("the session cannot be closed") as status:
                self._library.TF_CloseSession(self._session, status)
                self._library.TF_DeleteSession(self._session, status)
            self._session = None
        if self._graph:
            self._library.TF_DeleteGraph(self._graph)
            self._graph = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _places(self, tensors: Mapping[str, Any]) -> ctypes.Array[Output]:
        """Places in the graph of a signature's inputs or outputs, in the order of names."""
        outputs = (Output * len(tensors))()
        for number, name in enumerate(sorted(tensors)):
            operation, _, index = tensors[name].name.partition(":")
            pointer = self._library.TF_GraphOperationByName(self._graph, operation.encode())
            if not pointer:
                raise CommandError(f"the graph has no operation '{operation}'")
            outputs[number] = Output(pointer, int(index))
        return outputs

    @contextmanager
    def _status(self, what: str) -> Iterator[int]:
        """A status for one call, which raises what it says at the end.

        Raises:
          CApiError: the call failed.
        """
        status = self._library.TF_NewStatus()
        try:
            yield status
            code = self._library.TF_GetCode(status)
            if code:
                reason = self._library.TF_Message(status).decode(errors="replace")
                raise CApiError(what, code, reason)
        finally:
            self._library.TF_DeleteStatus(status)

    @contextmanager
    def _tensors(self, arrays: Sequence[np.ndarray]) -> Iterator[ctypes.Array[ctypes.c_void_p]]:
        """Tensors with the values of arrays, freed at the end."""
        tensors: list[int] = []
        try:
            for values in arrays:
                tensors.append(self._tensor(values))
            yield (ctypes.c_void_p * len(tensors))(*tensors)
        finally:
            for tensor in tensors:
                self._library.TF_DeleteTensor(tensor)

    def _tensor(self, values: np.ndarray) -> int:
        if values.dtype == object:
            return self._string_tensor(values)
        number = tf.as_dtype(values.dtype).as_datatype_enum
        tensor = self._allocate(number, values.shape, values.nbytes)
        ctypes.memmove(self._library.TF_TensorData(tensor), values.ctypes.data, values.nbytes)
        return tensor

    def _string_tensor(self, values: np.ndarray) -> int:
        texts = encoded(values)
        tensor = self._allocate(_STRING_TYPE, values.shape, values.size * STRING_BYTES)
        write_strings(self._library.TF_TensorData(tensor), texts)
        return tensor

    def _allocate(self, type_number: int, shape: tuple[int, ...], num_bytes: int) -> int:
        dimensions = (ctypes.c_int64 * len(shape))(*shape)
        return self._library.TF_AllocateTensor(type_number, dimensions, len(shape), num_bytes)

    def _array(self, tensor: int) -> np.ndarray:
        """The values of a tensor, which is freed."""
        shape = [
            self._library.TF_Dim(tensor, axis) for axis in range(self._library.TF_NumDims(tensor))
        ]
        start = self._library.TF_TensorData(tensor)
        type_number = self._library.TF_TensorType(tensor)
        if type_number == _STRING_TYPE:
            texts = read_strings(start, int(np.prod(shape)))
            values = np.empty(len(texts), dtype=object)
            values[:] = texts
        else:
            size = self._library.TF_TensorByteSize(tensor)
            content = ctypes.string_at(start, size) if size else b""
            values = np.frombuffer(content, tf.as_dtype(type_number).as_numpy_dtype)
        self._library.TF_DeleteTensor(tensor)
        return values.reshape(shape)


def _as_taken(values: np.ndarray, type_number: int) -> np.ndarray:
    """Values in the type that an input takes, one after the other in memory."""
    dtype = object if type_number == _STRING_TYPE else tf.as_dtype(type_number).as_numpy_dtype
    return np.asarray(values, dtype=dtype, order="C")
