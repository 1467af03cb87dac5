"""The key of an endpoint: read from the environment, and cut out of everything that comes back."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Mapping
from typing import Any

from configs.loading import ConfigurationError

_SHOWN = "[key]"
_VISIBLE_ASCII = re.compile(r"[!-~]+")
# What servers without keys are sent ("none", "EMPTY") is no secret, and may be a word of an answer.
_SHORTEST_SECRET = 6


class ApiKey:
    """A key that is sent as it is and shown as `[key]`.

    Args:
      value: visible ASCII characters. A key of fewer than 6 is a placeholder and is cut out only
        where it stands as `Bearer KEY`.
    """

    def __init__(self, value: str):
        self.value = value
        written = "".join(map(_any_writing_of, value))
        if len(value) >= _SHORTEST_SECRET:
            self._pattern = re.compile("|".join([written, *_encodings(value)]))
        else:
            self._pattern = re.compile(f"(?<=Bearer ){written}")

    def __repr__(self) -> str:
        return f"ApiKey({_SHOWN})"

    @classmethod
    def from_environment(cls, section: str, variable: str) -> ApiKey | None:
        """The key in an environment variable, without white space around it; None if it is empty.

        Args:
          section: the section with the key `api_key_variable`, e.g. "generation".
          variable: the environment variable's name.

        Raises:
          ConfigurationError: no HTTP header can hold it.
        """
        value = os.environ.get(variable, "").strip()
        if not value:
            return None
        if not _VISIBLE_ASCII.fullmatch(value):
            raise ConfigurationError(
                f"{section}.api_key_variable: the key in the environment variable {variable} has "
                "white space, control or non-ASCII characters in it; put the key alone there"
            )
        return cls(value)

    def cut_out_of(self, text: str) -> str:
        """A text with the key, however it is quoted or encoded, replaced by `[key]`."""
        return self._pattern.sub(_SHOWN, text)

    def cut_out_of_document(self, document: Any) -> Any:
        """The same for all texts of parsed JSON."""
        if isinstance(document, str):
            return self.cut_out_of(document)
        if isinstance(document, list):
            return [self.cut_out_of_document(entry) for entry in document]
        if isinstance(document, Mapping):
            return {
                self.cut_out_of(name): self.cut_out_of_document(value)
                for name, value in document.items()
            }
        return document


def _any_writing_of(character: str) -> str:
    """Pattern of a character as it is, or quoted as Python, JSON, URLs and HTML quote it."""
    code = ord(character)
    plain, as_html = re.escape(character), re.escape(html.escape(character))
    return (
        rf"(?:\\{{0,3}}{plain}|{as_html}|(?i:%(?:25)?{code:02x}|\\+(?:u00|x){code:02x}"
        rf"|&#0*{code};|&#x0*{code:x};))"
    )


def _encodings(value: str) -> set[str]:
    """Patterns of a key in hexadecimal and in base64, alone or within a longer text."""
    data = value.encode()
    patterns = {f"(?i:{data.hex()})"}
    for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
        # Of a longer text such as "Bearer KEY", base64 holds the key at one of three offsets; the
        # characters that belong to the key alone are the same whatever stands around it.
        for before in range(3):
            encoded = alphabet(b"\0" * before + data).decode()
            inner = encoded[-(-before * 8 // 6) : (before + len(data)) * 8 // 6]
            patterns.add(re.escape(inner))
    return patterns
