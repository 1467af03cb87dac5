"""Texts of others made harmless before they stand in a prompt.

Titles come from outside: sellers, users, scrapers. A title is data, so nothing in it may end the
line, leave its quotation marks, imitate the markup of a chat, or show people something else than
the model reads. What a title says in plain words stays; the quotation marks around it tell the
model that it is a name.
"""

from __future__ import annotations

import re
import unicodedata

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
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        if category in _INVISIBLE:
            continue
        marks = marks + 1 if category in ("Mn", "Me") else 0
        if marks <= _LONGEST_MARK_RUN:
            kept.append(" " if category in _BREAKING else character)
    return "".join(kept)
