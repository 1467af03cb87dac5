"""The answer record: one LLM answer, its id, its source, its factors, and why one is rejected."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from configs.knowledge import SourceAnswers
from configs.loading import ConfigurationError
from preprocessing.inputs import LONGEST_LINE, bounded_lines
from preprocessing.records.contract import COLLECTIVE, EXTRACTIONS, INDIVIDUAL, LONGEST_ID
from preprocessing.records.forgotten import Forgotten

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
"""Reasons of `preprocessing.answers.checks`: the record is sound, its text is of no use."""

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
    "invalid_entity_id": "an id that is no id: too long, or with a line break",
    "invalid_custom_id": "custom_id is neither SOURCE/ID nor SOURCE/group/ID",
    "unknown_custom_id": "no prompt of --prompts has this custom_id",
    "unknown_id": "the file of --ids has no new id for it",
    "source_mismatch": "belongs to another source than the one asked for",
    "extraction_mismatch": "individual instead of collective, or the other way round",
    "prompt_hash_mismatch": "prompt_sha256 is not the hash of the prompt",
    "failed_request": "the LLM service reports an error instead of an answer",
    "duplicate_entity": "the entity has an answer already",
    "forgotten": "the user or item was forgotten, see python -m preprocessing forget",
}
"""Reasons for which a record cannot be read as an answer at all."""

GENERATION_REASONS: Mapping[str, str] = {
    "duplicate_custom_id": "the prompt file has this custom_id already",
    "other_schema": "a prompt of the same text wants another JSON schema; the text must say which",
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


LINKING_REASONS: Mapping[str, str] = {
    "no_list": "the answer is no list of names",
    "name_not_a_text": "an entry of the list is no text",
    "name_too_long": "a name has more than 300 characters",
    "name_without_letters": "a name has neither letters nor digits",
    "no_name": "in the place of a name, a refusal or a gap such as 'N/A' or '[title]'",
    "surplus_name": "the list has more names than knowledge.answers.SOURCE.links.names (of what "
    "users would not like, disliked_names); set it to the length of your lists to read them all",
    "self_mention": "the item itself is named",
    "repeated_name": "the answer has named this item before",
    "member_left_out": "an answer about a group has no names for this member",
    "unknown_member": "an answer about a group has names for what is no member of it, or a second "
    "list for one",
}
"""Reasons of the step `link`: an answer, or a name in it, makes no link."""


def meaning_of(reason: str) -> str | None:
    """What a reason means; None for a name that is not in use."""
    if reason.startswith("http_"):
        return GENERATION_REASONS["http_"]
    for reasons in (
        *(QUALITY_REASONS, RECORD_REASONS, GENERATION_REASONS),
        *(ENCODING_REASONS, LINKING_REASONS),
    ):
        if reason in reasons:
            return reasons[reason]
    return None


_BYTES_PER_BATCH = 4 << 20
_CODE_FENCE = "```"
_CODE_FENCE_BEGINS = re.compile(r"```[a-z]*")
_MOST_INTERACTIONS = (1 << 31) - 1
_DEEPEST_OBJECT = 32
_LARGEST_NUMBER = 1 << 63
_NOT_IN_IDS = frozenset("\r\n\0")
INTERACTIONS_SEEN = "interactions_seen"
"""Field of prompts and answers about users, see `Answer`."""

FACTORS = "factors"
"""Field of structured answers, see `Answer`."""

MEMBERS = "members"
"""Field of prompts and answers that list the members of a group one by one, see `Answer`."""

_REQUIRED = ("source", "entity_id", "extraction", "answer")
_OPTIONAL = ("custom_id", "model", "asked_model", "prompt", "prompt_sha256", "finish_reason")


class Location(NamedTuple):
    """Where a record is.

    Attributes:
      file: the file, as the command line or the configuration names it.
      line: number of its line, entry or record, from 1.
      file_order: place of the file among those that are read together.
    """

    file: str
    line: int
    file_order: int = 0


NOWHERE = Location("", 0)
"""The location of an answer that was not read from a file."""


@dataclass(frozen=True)
class Answer:
    """An answer that is sound as a record.

    Attributes:
      source: name of the stream of knowledge, e.g. "item".
      entity_id: item, user or group id.
      extraction: "individual" or "collective".
      text: what the LLM wrote.
      prompt: what it was asked; None if the file does not say.
      model: which LLM wrote it, as its service reports; None if the file does not say.
      usage: tokens, as the LLM service counted them; None if the file does not say.
      given_custom_id: the custom id of the file; None if there is none.
      interactions_seen: individual answers about users: how many of the user's first interactions
        the prompt was made from, those that it leaves out included; None if the file does not say.
      factors: structured answers: factor -> its text or list of names; None for free text.
      members: answers about groups: the items that the prompt lists by number, from 1; None if it
        lists none.
      asked_model: which LLM was asked, where another name answered; None if it is the same.
      finish_reason: why the LLM stopped, as its service reports it; None if unknown.
      location: where the answer was read; two equal answers may be in different places.
      lacks_history: the text should hold the history of the prompt, which shows none.
    """

    source: str
    entity_id: str
    extraction: str
    text: str
    prompt: str | None = None
    model: str | None = None
    usage: Mapping[str, object] | None = None
    given_custom_id: str | None = None
    interactions_seen: int | None = None
    factors: Mapping[str, object] | None = None
    members: tuple[str, ...] | None = None
    asked_model: str | None = None
    finish_reason: str | None = None
    location: Location = field(default=NOWHERE, compare=False)
    lacks_history: bool = False

    def record(self) -> dict[str, object]:
        """The answer as the JSON object that `answer_of` reads."""
        hashed = None if self.prompt is None else prompt_sha256(self.prompt)
        record: dict[str, object] = {
            "custom_id": self.given_custom_id
            or custom_id(self.source, self.extraction, self.entity_id),
            "source": self.source,
            "entity_id": self.entity_id,
            "extraction": self.extraction,
            "model": self.model,
            "prompt": self.prompt,
            "prompt_sha256": hashed,
            "answer": self.text,
            "usage": self.usage,
        }
        if self.asked_model is not None:
            record["asked_model"] = self.asked_model
        if self.interactions_seen is not None:
            record[INTERACTIONS_SEEN] = self.interactions_seen
        if self.factors is not None:
            record[FACTORS] = self.factors
        if self.members is not None:
            record[MEMBERS] = list(self.members)
        return record


class RejectedAnswer(Exception):
    """A record is not a usable answer.

    Attributes:
      reason: a name of `preprocessing.answers.record`.
      detail: what was found, without ids.
    """

    def __init__(self, reason: str, detail: str):
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


def refuse_forgotten(
    entity_id: str, entity: str, forgotten: Forgotten, extraction: str = INDIVIDUAL
) -> None:
    """Refuses what is about a user or an item that was forgotten.

    Args:
      entity_id: whom it is about.
      entity: "user" or "item".
      forgotten: those of the work directory.
      extraction: of a collective answer the id is a group's.

    Raises:
      RejectedAnswer: it was.
    """
    if extraction == INDIVIDUAL and forgotten.has(entity, entity_id):
        raise RejectedAnswer("forgotten", f"the {entity} was forgotten")


def prompt_sha256(prompt: str) -> str:
    """SHA-256 of a prompt's UTF-8 bytes, hexadecimal."""
    return hashlib.sha256(prompt.encode()).hexdigest()


def numbered_lines(path: str) -> Iterator[tuple[int, bytes]]:
    """Line numbers, counted from 1, and lines of a file, `.gz` or not; blank lines are left out.

    Lines that are too long come cut off, see `bounded_lines`; `json_object` refuses them.
    """
    for number, line in enumerate(bounded_lines(path), start=1):
        # Of a line that was cut off, nobody knows the end.
        if len(line) > LONGEST_LINE or line.strip():
            yield number, line


def batched_lines(path: str, most_lines: int = 256) -> Iterator[list[tuple[int, bytes]]]:
    """What `numbered_lines` yields, so many lines or 4 MB at once."""
    batch: list[tuple[int, bytes]] = []
    size = 0
    for number, line in numbered_lines(path):
        batch.append((number, line))
        size += len(line)
        if len(batch) == most_lines or size >= _BYTES_PER_BATCH:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def parse_answer(line: bytes, source: str, extraction: str) -> Answer:
    """Reads one line and checks everything that can be checked without other lines.

    Args:
      line: a JSON object with source, entity_id, extraction and answer, perhaps prompt and
        prompt_sha256 (SHA-256 of the prompt's UTF-8 bytes), custom_id, model, usage,
        interactions_seen, finish_reason and factors.
      source: the source that the configuration names for the file.
      extraction: the extraction that the configuration names for the file.

    Raises:
      RejectedAnswer: the line is not a usable answer.
    """
    return answer_of(json_object(line), source, extraction)


def answer_of(record: Mapping[str, object], source: str | None, extraction: str | None) -> Answer:
    """Checks a record; see `parse_answer`.

    Args:
      record: its fields.
      source: the source that was asked for; None takes any.
      extraction: the extraction that was asked for; None takes either.

    Raises:
      RejectedAnswer: the record is not a usable answer.
    """
    fields = {name: text_field(record, name) for name in _REQUIRED}
    optional = {
        name: text_field(record, name) for name in _OPTIONAL if record.get(name) is not None
    }
    for name, text in fields.items():
        if not text.strip():
            reason = "blank_answer" if name == "answer" else "blank_field"
            raise RejectedAnswer(reason, f"field '{name}' is empty")
    for name, expected in (("source", source), ("extraction", extraction)):
        if expected is not None and fields[name] != expected:
            raise RejectedAnswer(
                f"{name}_mismatch",
                f"the record says {name} '{fields[name]}', but '{expected}' was asked for",
            )
    if fields["extraction"] not in EXTRACTIONS:
        raise RejectedAnswer(
            "extraction_mismatch",
            f"'{fields['extraction']}'; there are {' and '.join(EXTRACTIONS)} answers",
        )
    check_entity_id(fields["entity_id"])
    prompt, prompt_hash = optional.get("prompt"), optional.get("prompt_sha256")
    if prompt is not None and prompt_hash is not None:
        actual = prompt_sha256(prompt)
        if actual != prompt_hash.lower():
            raise RejectedAnswer("prompt_hash_mismatch", f"prompt_sha256 is not {actual}")
    return Answer(
        source=fields["source"],
        entity_id=fields["entity_id"],
        extraction=fields["extraction"],
        text=fields["answer"],
        prompt=prompt,
        model=optional.get("model"),
        asked_model=optional.get("asked_model"),
        usage=object_field(record, "usage"),
        given_custom_id=optional.get("custom_id"),
        interactions_seen=interactions_seen(record),
        factors=object_field(record, FACTORS),
        members=listed_members(record),
        finish_reason=optional.get("finish_reason"),
    )


def interactions_seen(record: Mapping[str, object]) -> int | None:
    """The field of that name in a prompt or an answer; None if there is none.

    Raises:
      RejectedAnswer: it is no number of interactions.
    """
    number = record.get(INTERACTIONS_SEEN)
    if number is None:
        return None
    if type(number) is not int or not 0 <= number <= _MOST_INTERACTIONS:
        raise RejectedAnswer(
            "wrong_type",
            f"field '{INTERACTIONS_SEEN}' must be a whole number, 0 to {_MOST_INTERACTIONS}",
        )
    return number


def listed_members(record: Mapping[str, object]) -> tuple[str, ...] | None:
    """The field `members` of a prompt or an answer; None if there is none.

    Raises:
      RejectedAnswer: it is no list of ids, or an id is there twice.
    """
    members = record.get(MEMBERS)
    if members is None:
        return None
    if not isinstance(members, list) or not members:
        raise RejectedAnswer("wrong_type", f"field '{MEMBERS}' must be a list of ids")
    for member in members:
        check_entity_id(text_field({MEMBERS: member}, MEMBERS))
    if len(set(members)) < len(members):
        raise RejectedAnswer("wrong_type", f"field '{MEMBERS}' has an id twice")
    return tuple(members)


def json_value(text: str) -> object:
    """The JSON value that a text is, perhaps in a code fence.

    Raises:
      ValueError: it is something else.
    """
    text = text.strip()
    fence = _CODE_FENCE_BEGINS.match(text)
    inside = text[fence.end() :] if fence else text
    try:
        return json.loads(
            inside.removesuffix(_CODE_FENCE),
            parse_constant=refuse_json_constant,
            parse_float=_finite_number,
        )
    except RecursionError as error:
        raise ValueError(str(error)) from error


def json_object(line: bytes) -> dict[str, object]:
    """The JSON object of a line.

    Raises:
      RejectedAnswer: the line is something else.
    """
    if len(line) > LONGEST_LINE:
        raise RejectedAnswer("line_too_long", f"more than {LONGEST_LINE >> 20} MB")
    try:
        record = json.loads(
            line.decode("utf-8-sig"),
            parse_constant=refuse_json_constant,
            parse_float=_finite_number,
        )
    except UnicodeDecodeError as error:
        raise RejectedAnswer("invalid_utf8", f"{error.reason} at byte {error.start}") from error
    except (ValueError, RecursionError) as error:
        raise RejectedAnswer("malformed_json", str(error)) from error
    if not isinstance(record, dict):
        raise RejectedAnswer("not_an_object", "the line is JSON, but not an object")
    return record


def refuse_json_constant(name: str) -> NoReturn:
    """For `json.loads(parse_constant=...)`: NaN and Infinity are Python's, not JSON's."""
    raise ValueError(f"{name} is not a JSON number")


def _finite_number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text[:20]} is too large for a number")
    return number


def text_field(record: Mapping[str, object], name: str) -> str:
    """A field that must be a text.

    Raises:
      RejectedAnswer: it is missing or something else.
    """
    if name not in record or record[name] is None:
        raise RejectedAnswer("missing_field", f"there is no field '{name}'")
    value = record[name]
    if not isinstance(value, str):
        raise RejectedAnswer("wrong_type", f"field '{name}' must be a text")
    return whole_text(value, f"field '{name}'")


def whole_text(text: str, name: str) -> str:
    """The text itself.

    Raises:
      RejectedAnswer: it cannot be written as UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise RejectedAnswer("invalid_text", f"{name} holds half a surrogate pair") from error
    return text


def object_field(record: Mapping[str, object], name: str) -> dict[str, object] | None:
    """A field that must be an object which every writer can write; None if there is none.

    Raises:
      RejectedAnswer: it is something else.
    """
    value = record.get(name)
    if value is not None and not isinstance(value, dict):
        raise RejectedAnswer("wrong_type", f"field '{name}' must be an object")
    check_storable(value, name)
    return value


def check_storable(value: object, name: str) -> None:
    """Checks what is kept of a record without being understood: every writer can write it.

    Raises:
      RejectedAnswer: it is nested deeply, or holds a huge number or half a surrogate pair.
    """
    level = [value]
    for _ in range(_DEEPEST_OBJECT):
        below: list[object] = []
        for entry in level:
            if isinstance(entry, dict):
                below.extend(entry)
                below.extend(entry.values())
            elif isinstance(entry, list):
                below.extend(entry)
            elif isinstance(entry, str):
                text_field({name: entry}, name)
            elif isinstance(entry, int) and abs(entry) >= _LARGEST_NUMBER:
                raise RejectedAnswer("wrong_type", f"a number in field '{name}' is huge")
        level = below
    if level:
        raise RejectedAnswer(
            "wrong_type", f"field '{name}' is nested more than {_DEEPEST_OBJECT} deep"
        )


def check_entity_id(entity_id: str) -> None:
    """Checks that an id may be one of a table (`preprocessing.tables.ids`).

    Raises:
      RejectedAnswer: it may not.
    """
    length = len(entity_id.encode(errors="replace"))
    if length > LONGEST_ID:
        raise RejectedAnswer(
            "invalid_entity_id", f"{length} bytes of UTF-8; an id has at most {LONGEST_ID}"
        )
    if not _NOT_IN_IDS.isdisjoint(entity_id):
        raise RejectedAnswer("invalid_entity_id", "a line break or NUL")


def recorded_source(source: str, factor: str | None) -> str:
    """What the records of a source call it.

    Structured answers hold all factors, so their records name the source without its factor: the
    records of `item_genre`, factor `genre`, say `item`.
    """
    return source if factor is None else source.removesuffix(f"_{factor}")


def factor_text(answer: Answer, factor: str) -> str:
    """The text of one factor.

    Args:
      answer: `generate` writes the factors as an object `factors`; the text of an answer from
        elsewhere is a JSON object itself.
      factor: name of the factor.

    Raises:
      RejectedAnswer: the answer is not structured, or the factor is not there or no text.
    """
    factors: object = answer.factors
    if factors is None:
        try:
            factors = json_value(answer.text)
        except ValueError as error:
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
    return whole_text(text, f"factor '{factor}'")


def sources_of(answers: Mapping[str, SourceAnswers], asked: str) -> dict[str, SourceAnswers]:
    """The sources that are asked about under one name, together.

    Args:
      answers: `knowledge.answers`.
      asked: the name, a key of `asked_sources`.
    """
    return {
        source: described
        for source, described in answers.items()
        if recorded_source(source, described.factor) == asked
    }


def asked_sources(answers: Mapping[str, SourceAnswers]) -> dict[str, SourceAnswers]:
    """Name under which a source is asked about -> its configuration (of its first factor).

    Args:
      answers: `knowledge.answers`.

    Raises:
      ConfigurationError: factors of one source are of different entities or groups.
    """
    asked: dict[str, SourceAnswers] = {}
    for source, described in answers.items():
        name = recorded_source(source, described.factor)
        first = asked.setdefault(name, described)
        for key in ("entity", "groups", "grouping"):
            if getattr(first, key) != getattr(described, key):
                raise ConfigurationError(
                    f"knowledge.answers.{source}.{key}: differs from that of another source named "
                    f"'{name}' in prompts and answers; factors of one answer have one '{key}'"
                )
    return asked


def other_sources(answers: Mapping[str, SourceAnswers], source: str) -> frozenset[str]:
    """What records of all other sources call their source.

    Args:
      answers: `knowledge.answers`.
      source: one of its keys.
    """
    names = {recorded_source(name, described.factor) for name, described in answers.items()}
    return frozenset(names - {recorded_source(source, answers[source].factor)})


def chosen_sources(
    answers: Mapping[str, SourceAnswers], names: Iterable[str] | None
) -> dict[str, SourceAnswers]:
    """Those of `asked_sources` that are meant.

    Args:
      answers: `knowledge.answers`.
      names: keys of `answers`, or names of `asked_sources`; None takes all.

    Raises:
      ConfigurationError: there is no source of a name.
    """
    asked = asked_sources(answers)
    if names is None:
        return asked
    meant = set()
    for name in names:
        if name not in answers and name not in asked:
            raise ConfigurationError(
                f"there is no source '{name}' in knowledge.answers (there: {', '.join(answers)})"
            )
        meant.add(recorded_source(name, answers[name].factor) if name in answers else name)
    return {name: described for name, described in asked.items() if name in meant}
