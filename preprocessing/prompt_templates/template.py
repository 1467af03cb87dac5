"""Prompt templates: named placeholders, filled in one pass with sanitised texts."""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Collection, Mapping

_REPLACED = str.maketrans({"<": "(", ">": ")", "`": "'", "\\": "/"})
_DOUBLE_QUOTES = str.maketrans(dict.fromkeys('"“”„‟«»＂〝〞〟', "'"))
_CHAT_MARKUP = re.compile(
    r"<\|[^<>]{0,40}\|>|\[/?(?:INST|SYS)\]|<{1,2}/?(?:SYS|s)>{1,2}|</?(?:system|user|assistant)>",
    re.IGNORECASE,
)
_INVISIBLE = ("Cf", "Cs", "Co", "Cn")
_BREAKING = ("Cc", "Zs", "Zl", "Zp")
_LONGEST_MARK_RUN = 3
_CUT_MARK = "..."


def sanitise_text(text: str, maximum_characters: int, quoted: bool) -> str:
    """One line without anything that could be taken for part of the prompt around it.

    Runs of control characters, line breaks and white space become one space; direction marks,
    zero-width and other invisible characters are removed; chat markup is removed, angle brackets,
    backticks and backslashes are replaced; piles of combining marks are cut.

    Args:
      text: a title, or another text that is not ours.
      maximum_characters: longer texts are cut, with "..." at the end.
      quoted: the text will stand in double quotation marks, so those inside become single ones.

    Returns:
      The text, empty if nothing visible is left.
    """
    # Nothing beyond some multiple of the cap can survive, so a text of any length costs little.
    text = unicodedata.normalize("NFC", text[: 20 * maximum_characters])
    text = _CHAT_MARKUP.sub(" ", _visible(text)).translate(_REPLACED)
    if quoted:
        text = text.translate(_DOUBLE_QUOTES)
    text = " ".join(text.split())
    if len(text) > maximum_characters:
        text = text[: maximum_characters - len(_CUT_MARK)].rstrip() + _CUT_MARK
    return text


def _visible(text: str) -> str:
    kept: list[str] = []
    mark_run = 0
    for character in text:
        category = unicodedata.category(character)
        if category in _INVISIBLE:
            continue
        mark_run = mark_run + 1 if category in ("Mn", "Me") else 0
        if mark_run <= _LONGEST_MARK_RUN:
            kept.append(" " if category in _BREAKING else character)
    return "".join(kept)


class TemplateError(ValueError):
    """A template cannot be used; the message says why."""


class Template:
    """A text with placeholders such as `{title}`; `{{` and `}}` stand for braces.

    Values are put in as they are and never read as templates, so braces in a title do nothing.
    Placeholders are plain names: no attributes, indices, conversions or format specifications.

    Attributes:
      text: the template as written.
      names: the placeholders in it, each once, in order.
    """

    def __init__(self, text: str):
        """Raises TemplateError when braces do not match or a placeholder is not a plain name."""
        self.text = text
        self._pieces: list[tuple[str, str | None]] = []
        try:
            for literal, name, specification, conversion in string.Formatter().parse(text):
                if name is not None and (not name.isidentifier() or specification or conversion):
                    written = f"{name}{'!' + conversion if conversion else ''}"
                    written += f":{specification}" if specification else ""
                    raise TemplateError(f"placeholder '{{{written}}}' is not a plain name")
                self._pieces.append((literal, name))
        except TemplateError:
            raise
        except ValueError as error:
            raise TemplateError(f"{error}; write a brace as {{{{ or }}}}") from error
        self.names = tuple(dict.fromkeys(name for _, name in self._pieces if name is not None))

    def require(self, allowed: Collection[str], required: Collection[str] = ()) -> None:
        """Checks the placeholders.

        Raises:
          TemplateError: one is unknown or a required one is missing.
        """
        for name in self.names:
            if name not in allowed:
                placeholders = ", ".join(f"{{{allowed_name}}}" for allowed_name in allowed)
                raise TemplateError(f"unknown placeholder '{{{name}}}'; known here: {placeholders}")
        for name in required:
            if name not in self.names:
                raise TemplateError(f"the placeholder '{{{name}}}' is missing")

    def fill(self, values: Mapping[str, str]) -> str:
        """The text with every placeholder replaced by its value."""
        return "".join(
            literal if name is None else literal + values[name] for literal, name in self._pieces
        )

    def expression(self, values: Mapping[str, str]) -> str:
        """Regular expression of the texts that `fill` makes, whatever the values.

        Args:
          values: placeholder -> expression of its values; the same again where it stands again.
        """
        seen: set[str] = set()
        pieces = []
        for literal, name in self._pieces:
            pieces.append(re.escape(literal))
            if name is not None:
                pieces.append(f"(?P={name})" if name in seen else values[name])
                seen.add(name)
        return "".join(pieces)
