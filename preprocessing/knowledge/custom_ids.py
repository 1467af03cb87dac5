"""`custom_id`: the name by which a prompt and its answer find each other again."""

from __future__ import annotations

from preprocessing.records.contract import COLLECTIVE, INDIVIDUAL

_GROUP = "group"


def custom_id(source: str, extraction: str, entity_id: str) -> str:
    """`item/318` for an individual answer, `item/group/7` for a collective one."""
    middle = [_GROUP] if extraction == COLLECTIVE else []
    return "/".join([source, *middle, entity_id])


def split_custom_id(text: str) -> tuple[str, str, str] | None:
    """Source, extraction and entity id; None for a text that is not built like a custom id."""
    source, _, rest = text.partition("/")
    group, _, member = rest.partition("/")
    extraction, entity_id = (COLLECTIVE, member) if group == _GROUP else (INDIVIDUAL, rest)
    if group == _GROUP and not member:
        return None
    return (source, extraction, entity_id) if source and entity_id else None
