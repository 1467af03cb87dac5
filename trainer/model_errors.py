"""What went wrong in a model's layers, in words for the person who configured it."""

from __future__ import annotations

import re

_KERAS_FRAME = re.compile(
    r"\AException encountered when calling .*?\.\n\n(.*)\n\nCall arguments received by ", re.DOTALL
)
_KERNEL_FRAME = re.compile(r"\{\{function_node [^}]*\}\} ?| \[Op:\w+\](?: name: ?)?")


def reason_of(error: Exception) -> str:
    """The error's own first paragraph on one line.

    Keras wraps the message of a layer between the layer's name and the arguments of the call, which
    are pages of tensors; TensorFlow wraps that of a kernel between its places in the runtime.
    """
    text = str(error)
    wrapped = _KERAS_FRAME.match(text)
    paragraph, _, _ = (wrapped.group(1) if wrapped else text).strip().partition("\n\n")
    return " ".join(_KERNEL_FRAME.sub("", paragraph).split()) or type(error).__name__
