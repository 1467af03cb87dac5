"""TensorFlow's C library in the installed package, and the functions of it that are used here."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import tensorflow as tf

from configs.command_line import CommandError

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
