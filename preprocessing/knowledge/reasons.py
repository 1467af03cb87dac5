"""Why an answer is rejected: one set of names for every command that makes or reads answers."""

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
    "placeholder": "a gap for somebody to fill: '[unknown]', '[insert ...]', '{name}', 'N/A'",
    "degenerate_repetition": "the same words over and over",
    "wrong_language": "not in the language that --language asks for",
    "duplicate_answer": "the text of another entity's answer, apart from case and punctuation",
}
"""Reasons of `preprocessing.quality`: the record is sound, its text is of no use."""

RECORD_REASONS: Mapping[str, str] = {
    "malformed_json": "the line is not JSON",
    "line_too_long": "the line has more than 8 MB, decompressed",
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
    "unknown_id": "the file of --ids has no new id for it",
    "source_mismatch": "belongs to another source than the one asked for",
    "extraction_mismatch": "individual instead of collective, or the other way round",
    "prompt_hash_mismatch": "prompt_sha256 is not the hash of the prompt",
    "failed_request": "the LLM service reports an error instead of an answer",
    "duplicate_entity": "the entity has an answer already",
}
"""Reasons for which a record cannot be read as an answer at all."""

GENERATION_REASONS: Mapping[str, str] = {
    "duplicate_custom_id": "the prompt file has this custom_id already",
    "schema_mismatch": "the LLM's answer has another shape than generation.json_schema asks for",
    "timeout": "no response in time, however often it was tried",
    "connection_failed": "no connection to the endpoint, however often it was tried",
    "rate_limited": "the endpoint refused further calls, however often it was tried",
    "server_error": "the endpoint failed, however often it was tried",
    "malformed_response": "the response is not what the interface promises",
    "http_": "the endpoint refused the request with this HTTP status",
    "no_credit": "the endpoint wants to be paid first",
    "unknown_request": "a batch result without a request of this model and these parameters",
    "model_failed": "the model in this process failed at the prompt",
    "prompt_too_long": "the prompt does not fit into the model's context",
}
"""Reasons of `preprocessing.generation`: a prompt got no usable answer. `http_` is a beginning."""

ENCODING_REASONS: Mapping[str, str] = {
    "unstructured_answer": "the answer is no JSON object, so it has no factors",
    "missing_factor": "the structured answer has no text for the factor",
    "no_metadata": "the catalogue has neither a title nor any of the attributes of the item",
    "encoder_refused": "the embeddings endpoint takes no such text, perhaps for its length",
    "non_finite_vector": "a number of the vector is NaN, infinite or too large for float16",
    "zero_vector": "all numbers of the vector are zero",
    "wrong_width": "the vector has another width than the first one",
}
"""Reasons of the step `encode`: the answer, or a vector made elsewhere, makes no knowledge."""


def meaning_of(reason: str) -> str | None:
    """What a reason means; None for a name that is not in use."""
    if reason.startswith("http_"):
        return GENERATION_REASONS["http_"]
    for reasons in (QUALITY_REASONS, RECORD_REASONS, GENERATION_REASONS, ENCODING_REASONS):
        if reason in reasons:
            return reasons[reason]
    return None
