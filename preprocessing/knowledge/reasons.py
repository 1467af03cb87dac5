"""Why an answer is rejected: one set of names for every command that reads answers."""

from __future__ import annotations

from collections.abc import Mapping

QUALITY_REASONS: Mapping[str, str] = {
    "truncated": "the LLM stopped at its token limit, or the text ends inside a sentence",
    "refusal": "the LLM declined, or asked for input instead of answering",
    "content_filter": "the service's content filter stopped the answer",
    "bad_encoding": "replacement or control characters, or UTF-8 that was read as Windows-1252",
    "too_short": "fewer characters than --minimum-characters",
    "too_long": "more characters than --maximum-characters",
    "prompt_echo": "the text starts with its prompt or mostly repeats it",
    "degenerate_repetition": "the same words over and over",
    "wrong_language": "not in the language that --language asks for",
    "duplicate_answer": "the text of another entity's answer, apart from case and punctuation",
}
"""Reasons of `preprocessing.quality`: the record is sound, its text is of no use."""

RECORD_REASONS: Mapping[str, str] = {
    "malformed_json": "the line is not JSON",
    "not_an_object": "JSON, but not an object",
    "invalid_utf8": "bytes that are not UTF-8",
    "invalid_text": "half a surrogate pair",
    "missing_field": "a field that the format needs is not there",
    "wrong_type": "a field has another type than the format says",
    "blank_field": "a field is empty",
    "blank_answer": "the answer is empty",
    "invalid_entity_id": "an id that is no id: too long, or with control characters",
    "invalid_custom_id": "custom_id is neither SOURCE/ID nor SOURCE/group/ID",
    "unknown_custom_id": "no prompt of --prompts has this custom_id",
    "source_mismatch": "belongs to another source than the one asked for",
    "extraction_mismatch": "individual instead of collective, or the other way round",
    "prompt_hash_mismatch": "prompt_sha256 is not the hash of the prompt",
    "failed_request": "the LLM service reports an error instead of an answer",
    "duplicate_entity": "the entity has an answer already",
}
"""Reasons for which a record cannot be read as an answer at all."""
