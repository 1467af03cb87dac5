"""TensorFlow Serving's configuration files in protobuf's text format."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from google.protobuf import text_format
from google.protobuf.message import Message

from configs.loading import ConfigurationError

AnyMessage = TypeVar("AnyMessage", bound=Message)


def read_text_message(path: str | Path, message_type: type[AnyMessage]) -> AnyMessage:
    """Reads a file in text format.

    Args:
      path: the file.
      message_type: of the message that it holds.

    Raises:
      ConfigurationError: the file cannot be read or is no such message. The error names the place
        and never quotes the file, which may hold a key.
    """
    try:
        return text_format.Parse(Path(path).read_text(encoding="utf-8"), message_type())
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: not a text file") from error
    except text_format.ParseError as error:
        place = f"line {error.GetLine()}, column {error.GetColumn()}"
        descriptor = message_type.DESCRIPTOR
        fields = ", ".join(field.name for field in descriptor.fields)
        raise ConfigurationError(
            f"{path}: {place}: not {descriptor.full_name} in text format. Its fields are {fields}"
        ) from None
