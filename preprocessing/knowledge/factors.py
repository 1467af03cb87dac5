"""One factor of a structured answer, which is an object with one text per factor."""

from __future__ import annotations

import json
from collections.abc import Mapping

from preprocessing.knowledge.answers import FACTORS, RejectedAnswer, refuse_json_constant


def recorded_source(source: str, factor: str | None) -> str:
    """What the records of a source call it.

    Structured answers hold all factors, so their records name the source without its factor: the
    records of `item_genre`, factor `genre`, say `item`.
    """
    return source if factor is None else source.removesuffix(f"_{factor}")


def factor_text(record: Mapping[str, object], factor: str) -> str:
    """The text of one factor.

    Args:
      record: a sound answer record. `generate` writes the factors as an object `factors`; in
        records from elsewhere the text of `answer` is a JSON object itself.
      factor: name of the factor.

    Raises:
      RejectedAnswer: the answer is not structured, or the factor is not there or no text.
    """
    factors = record.get(FACTORS)
    if factors is None:
        try:
            factors = json.loads(str(record["answer"]), parse_constant=refuse_json_constant)
        except (ValueError, RecursionError) as error:
            raise RejectedAnswer("unstructured_answer", f"not a JSON object: {error}") from error
    if not isinstance(factors, dict):
        raise RejectedAnswer("unstructured_answer", "JSON, but not an object")
    text = factors.get(factor)
    if text is None:
        raise RejectedAnswer("missing_factor", f"there is no factor '{factor}'")
    if not isinstance(text, str):
        raise RejectedAnswer("missing_factor", f"factor '{factor}' is not a text")
    if not text.strip():
        raise RejectedAnswer("missing_factor", f"factor '{factor}' is empty")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RejectedAnswer(
            "invalid_text", f"factor '{factor}' holds half a surrogate pair"
        ) from error
    return text
