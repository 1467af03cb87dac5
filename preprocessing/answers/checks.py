"""What makes an answer bad: every check of one answer's text, and of repetition among answers."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Literal, get_args

from pydantic import Field

from configs.section import Section
from preprocessing.answers.record import Answer, Location, RejectedAnswer

_WORD = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
# str.strip() would take control characters away before the check that looks for them.
_WHITE_SPACE = " \t\r\n"


def words_of(text: str) -> list[str]:
    """Words in lower case; punctuation, symbols and white space are left out."""
    return _WORD.findall(unicodedata.normalize("NFKC", text).casefold())


def ngrams(units: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """All sequences of n neighbouring units."""
    return list(zip(*(units[start:] for start in range(n)), strict=False))


class AnswerText:
    """What the checks look at.

    Attributes:
      text: what the LLM wrote, without blanks and line breaks around it.
      prompt: what it was asked; None if unknown.
      finish_reason: why the LLM stopped, as its service reports it; None if unknown.
    """

    def __init__(self, text: str, prompt: str | None = None, finish_reason: str | None = None):
        self.text = text.strip(_WHITE_SPACE)
        self.prompt = prompt
        self.finish_reason = finish_reason

    @cached_property
    def words(self) -> list[str]:
        """Words of the text; see `words_of`."""
        return words_of(self.text)

    @cached_property
    def prompt_words(self) -> list[str]:
        """Words of the prompt; none when it is unknown."""
        return words_of(self.prompt or "")


TruncationLevel = Literal["off", "clear", "likely", "strict"]
TRUNCATION_LEVELS: tuple[TruncationLevel, ...] = get_args(TruncationLevel)


class Thresholds(Section):
    """When an answer counts as bad.

    The defaults accept every answer bundled in `examples/` and nearly all published ones.
    """

    form: Literal["any", "text", "names"] = Field(
        "any",
        description="what answers must be. text: prose; names: lists of names as 'link' reads "
        "them; any: either, and a list is told by its form",
    )
    minimum_characters: int = Field(20, ge=0, description="shorter answers are too_short")
    maximum_characters: int = Field(20_000, ge=0, description="longer answers are too_long")
    truncation: TruncationLevel = Field(
        "likely",
        description="how to tell that a text is cut off. off: only where the service reports it; "
        "clear: also a text that ends with a comma, an opening bracket or a word like 'the'; "
        "likely: also running text without a full stop at its end; strict: any text without one",
    )
    language: Literal["any", "en"] = Field(
        "any",
        description="language that answers must be in, judged by script and function words",
    )
    maximum_echo: float = Field(
        0.6, ge=0, le=1, description="share of an answer's 5-word phrases that its prompt may hold"
    )
    maximum_repetition: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of 4-word phrases that may be repetitions, in the whole answer or in "
        "its last 60 words",
    )
    maximum_bad_characters: int = Field(
        0, ge=0, description="replacement, control and mis-decoded characters allowed"
    )
    maximum_placeholders: int = Field(
        0, ge=0, description="gaps such as '[unknown]', '{name}' or 'N/A' allowed"
    )
    allow_duplicates: bool = Field(False, description="let two entities have the same answer")


def too_short(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """What is wrong with a text that is too short."""
    length = len(answer.text)
    if length >= thresholds.minimum_characters:
        return None
    return f"{length} characters, fewer than {thresholds.minimum_characters}: {answer.text!r}"


def too_long(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """What is wrong with a text that is too long."""
    length = len(answer.text)
    if length <= thresholds.maximum_characters:
        return None
    return f"{length} characters, more than {thresholds.maximum_characters}"


_REPLACEMENT_OR_CONTROL = re.compile("[\ufffd\ufffe\uffff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")


def _misread(byte: int) -> str:
    """The character that a byte becomes when read as Windows-1252."""
    try:
        return bytes([byte]).decode("cp1252")
    except UnicodeDecodeError:
        return chr(byte)


def _class(first: int, last: int) -> str:
    return "[" + "".join(re.escape(_misread(byte)) for byte in range(first, last + 1)) + "]"


_CONTINUATION = _class(0x80, 0xBF)
_MISREAD_UTF8 = re.compile(
    f"{_class(0xC2, 0xDF)}{_CONTINUATION}"
    f"|{_class(0xE0, 0xEF)}{_CONTINUATION}{{2}}"
    f"|{_class(0xF0, 0xF4)}{_CONTINUATION}{{3}}"
)


def bad_encoding(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """Damaged characters.

    UTF-8 read as Windows-1252 leaves pairs such as 'Ã©': the first character stands for a lead
    byte, the others for continuation bytes.
    """
    if answer.text.isascii() and answer.text.isprintable():
        return None
    matches = _REPLACEMENT_OR_CONTROL.findall(answer.text) + _MISREAD_UTF8.findall(answer.text)
    if len(matches) <= thresholds.maximum_bad_characters:
        return None
    shown = ", ".join(sorted({ascii(characters) for characters in matches})[:3])
    return f"{len(matches)} damaged characters: {shown}"


_FILTERED, _REFUSED = "content_filter", "refusal"

# A refusal comes first; the same words further down may speak of a film's character.
_OPENING_CHARACTERS = 300
# An answer below this length that asks for input is nothing but the question.
_SHORT_CHARACTERS = 500

_NOT = r"(?:cannot|can[’']?t|can not|could not|couldn[’']?t|am unable to|[’']m unable to|am not able to|[’']m not able to|won[’']?t be able to)"  # noqa: E501
_ACT = r"(?:help|assist|provide|answer|describe|analy[sz]e|comply|fulfil+|give|offer|generate|determine|identify|access|find|recommend|introduce)"  # noqa: E501
_DECLINES = re.compile(
    rf"""
    \bas\s+an?\s+(?:ai|artificial\s+intelligence|(?:large\s+)?language\s+model)\b
  | \bi(?:\s+a|[’'])m\s+(?:just\s+|only\s+)?an?\s+(?:ai|(?:large\s+)?language\s+model)\b
  | ^\W*(?:i(?:\s+a|[’'])m\s+(?:so\s+|very\s+|truly\s+)?sorry|sorry|apologies|i\s+apologi[sz]e|(?:unfortunately|regrettably),?\s+i)\b
  | \bi(?:\s+|(?=[’'])){_NOT}\s+(?:\w+\s+)?{_ACT}\b
  | \bi\s+(?:do\s+not|don[’']?t)\s+(?:currently\s+|actually\s+)?have\s+(?:any\s+|enough\s+|sufficient\s+|specific\s+|detailed\s+|much\s+|reliable\s+|direct\s+)*(?:information|access|knowledge|details|data)\b
  | \bi(?:\s+a|[’'])m\s+not\s+(?:familiar|aware)\b
  | \bi\s+have\s+no\s+(?:information|knowledge|record|data)\b
  | \bmy\s+(?:knowledge\s+cut-?off|training\s+data\s+(?:does|only))\b
    """,  # noqa: E501
    re.IGNORECASE | re.VERBOSE,
)
_ASKS = re.compile(
    r"""
    \b(?:please|could\s+you|can\s+you|would\s+you)\s+(?:please\s+|kindly\s+)?
      (?:provide|specify|share|clarify|give|tell|supply)\b
  | \bi\s+(?:would\s+|will\s+|[’']d\s+)?need\s+(?:to\s+know|more|specific|additional|further)\b
  | \b(?:it\s+is|it[’']s)\s+not\s+possible\s+to\s+(?:describe|provide|determine|analy[sz]e)\b
    """,
    re.IGNORECASE | re.VERBOSE,
)


def refusal(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """The words with which a text declines."""
    if answer.finish_reason == _REFUSED:
        return f"the service reports a refusal: {answer.text}"
    match = _DECLINES.search(answer.text[:_OPENING_CHARACTERS])
    if match is None and len(answer.text) < _SHORT_CHARACTERS:
        match = _ASKS.search(answer.text)
    return f"says '{match[0].strip()}'" if match else None


def content_filter(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """What the service reports about a text that it does not let through."""
    if answer.finish_reason != _FILTERED:
        return None
    return f"the service reports finish_reason '{_FILTERED}'"


_WORD_N = 4
_MINIMUM_WORDS = 16
# Endings are looked at alone: a text that gets stuck late has a good beginning.
_ENDING_WORDS = 60
_CHARACTER_N = 8
_MINIMUM_CHARACTERS = 60


def degenerate_repetition(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """How much of a text is repetition.

    Counted in words; in characters where there are few words: one endless word, or a script
    without spaces.
    """
    if len(answer.words) >= _MINIMUM_WORDS:
        share = max(
            repeated_share(answer.words, _WORD_N),
            repeated_share(answer.words[-_ENDING_WORDS:], _WORD_N),
        )
    elif len(answer.text) >= _MINIMUM_CHARACTERS:
        share = repeated_share(answer.text, _CHARACTER_N)
    else:
        return None
    if share <= thresholds.maximum_repetition:
        return None
    return f"{share:.0%} repetition, ends with '...{answer.text[-40:]}'"


def repeated_share(units: Sequence[str], n: int) -> float:
    """1 - distinct n-grams / n-grams; 0 for a text without any."""
    grams = ngrams(units, n)
    return 1 - len(set(grams)) / len(grams) if grams else 0.0


_N = 5
# An answer may well begin with the few words of a short prompt ("Toy Story (1995)").
_OPENING_WORDS = 8
_MINIMUM_NGRAMS = 8


def prompt_echo(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """How a text repeats its prompt; None also when the prompt is unknown."""
    words, prompt = answer.words, answer.prompt_words
    if not prompt:
        return None
    if words == prompt:
        return "the answer is the prompt"
    opening = prompt[: 2 * _OPENING_WORDS]
    if len(opening) >= _OPENING_WORDS and words[: len(opening)] == opening:
        return "the answer starts with the prompt"
    grams = ngrams(words, _N)
    if len(grams) < _MINIMUM_NGRAMS:
        return None
    prompt_ngrams = set(ngrams(prompt, _N))
    share = sum(gram in prompt_ngrams for gram in grams) / len(grams)
    if share <= thresholds.maximum_echo:
        return None
    return f"{share:.0%} of the answer's phrases are the prompt's"


_STOPPED_AT_LIMIT = frozenset({"length", "max_tokens", "max_output_tokens"})
_ENDS_OPEN = re.compile(r"[,;:(\[{“‘«–—-]$")
_WORDS_THAT_GO_ON = frozenset(
    """
    a an the and or nor but as at by for from in into of on onto to with without between among
    about against during including such than that which who whose while because although though if
    when where is are was were be been being has have had its their his my your our this these
    those very more most both either neither not
    """.split()
)
# Not after an initial or a title: "J. R. R. Tolkien", "Mr. Smith".
_SENTENCE_END = re.compile(
    r"(?:(?<!\b[^\W\d_])(?<!\b[DMSdms][rst])(?<!\bMrs)(?<!\bvs)\.|[!?…])(?=[\"'”’»)\]*_]*\s)"
    r"|[。！？।؟]"
)
_COMPLETE_END = re.compile(r"[.!?…。！？।؟][\"'“”’»)\]}*_`\s]*$|[}\]`]$|[^\w\s.,;:'\"(\[{“‘«–—-]$")
_LIST_ITEM = re.compile(r"^\s*(?:[-*•–—#|>]|\(?\w{1,3}[.)]\s)")
_KEY_AND_VALUE = re.compile(r"^[^.!?]{1,60}:\s")
_FRAGMENT_WORDS = 3
_FRAGMENT_CHARACTERS = 8
_SHOWN_CHARACTERS = 40


def stopped_at_limit(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """What the service reports about a text that was cut off."""
    if answer.finish_reason not in _STOPPED_AT_LIMIT:
        return None
    return f"the service reports finish_reason '{answer.finish_reason}'"


def ends_inside_sentence(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """How a text ends that was cut off; see `Thresholds.truncation`."""
    level = TRUNCATION_LEVELS.index(thresholds.truncation)
    tests = (_ends_open, _running_text_without_end, _has_no_end)
    if any(test(answer.text) for test in tests[:level]):
        return f"ends with '...{answer.text[-_SHOWN_CHARACTERS:]}'"
    return None


def _ends_open(text: str) -> bool:
    if _ENDS_OPEN.search(text):
        return True
    if not (text[-1:].isalpha() and text[-1:].islower()):
        return False
    last_words = words_of(text[-_SHOWN_CHARACTERS:])[-1:]
    return any(word in _WORDS_THAT_GO_ON for word in last_words)


def _running_text_without_end(text: str) -> bool:
    """Sentences, then some words that make none; lists and `key: value` often end so."""
    last_line = text.rsplit("\n", 1)[-1]
    if not _has_no_end(text) or _LIST_ITEM.match(last_line):
        return False
    ends = list(_SENTENCE_END.finditer(last_line))
    if not ends:
        return False
    fragment = last_line[ends[-1].end() :].lstrip("\"'”’»)]*_ ")
    # Scripts without spaces between words are counted in characters.
    is_clause = len(words_of(fragment)) >= _FRAGMENT_WORDS or (
        not fragment.isascii() and len(fragment) >= _FRAGMENT_CHARACTERS
    )
    return is_clause and not _KEY_AND_VALUE.match(fragment)


def _has_no_end(text: str) -> bool:
    return _COMPLETE_END.search(text[-_SHOWN_CHARACTERS:]) is None


_ENGLISH = frozenset(
    """
    the and of for as to that with it by this from which his their its have has they who what when
    where while into through about than these those like more most other both during between whose
    """.split()
)
# Words that are not English as well, such as "die" or "an", are left out.
_OTHERS = tuple(
    frozenset(words.split())
    for words in (
        "der das und ist nicht ein eine einen mit von den dem im zu des auf sich auch als wird",
        "le la les des et une est dans qui que du pour pas sur au avec son sa ses ce cette",
        "el los las una que con por del y es su sus un en la como para se lo al más",
        "il di che è un una per con del della gli nel la le e si sono alla dei più",
        "que uma não com os da do na em é sua seu um para as dos se mais ao por",
        "de het een van en dat niet met voor zijn naar ook maar er te op aan bij door",
        "og och det en et af av til att som er är med på för den ikke inte der han",
        "w z i na się do nie jest to że o jego jej od po przez oraz dla jak który",
    )
)
_MINIMUM_ENGLISH_WORDS = 8
_MINIMUM_LATIN_SHARE = 0.9
_MINIMUM_ENGLISH_SHARE = 0.02


def wrong_language(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """Why a text is not English, when English was asked for."""
    if thresholds.language != "en":
        return None
    letters = [character for character in answer.text if character.isalpha()]
    if not letters:
        return "no letters"
    latin = sum(character < "\u0250" for character in letters) / len(letters)
    if latin < _MINIMUM_LATIN_SHARE:
        return f"{latin:.0%} of the letters are Latin"
    if len(answer.words) < _MINIMUM_ENGLISH_WORDS:
        return None
    english = _share(answer.words, _ENGLISH)
    other = max(_share(answer.words, words) for words in _OTHERS)
    if english < max(_MINIMUM_ENGLISH_SHARE, other):
        return f"{english:.0%} English function words, {other:.0%} of another language"
    return None


def _share(words: Sequence[str], vocabulary: frozenset[str]) -> float:
    return sum(word in vocabulary for word in words) / len(words)


# Brackets alone say nothing ("[Rec]" is a film, "<b>" a tag): what stands in them must be a gap's
# name, or an order to fill it.
_DETERMINER = (
    r"(?:the|this|your|my|an?|first|last|full|main|specific|relevant|other|another|some)[\s_-]+"
)
_OWNER = (
    r"(?:movie|film|book|item|user|artist|author|director|actor|actress|band|song|track|album|game"
    r"|product|brand|character|company|series|show|release|reader|viewer|customer|person)"
)
_NO_VALUE = (
    r"(?:unknown|unspecified|undefined|untitled|unnamed|n\s?/\s?a|tbd|tba|todo|xxx+|placeholder"
    r"|redacted|blank|null|none|not[\s_-](?:available|specified|provided|given|applicable|known))"
)
_FIELD = (
    r"(?:name|title|id|genres?|year|date|number|plot|themes?|summary|description|details|text|topic"
    r"|here|category|country|language|location|city|age|gender|occupation|keywords?|characters?)"
)
_GAP = (
    rf"(?:{_DETERMINER})*(?:{_NO_VALUE}|(?:{_OWNER}(?:['’]s)?[\s_-]+)?{_FIELD}|{_OWNER})"
    r"(?:[\s_-]+(?:here|\d+|[a-z]))?"
)
_ORDER = r"(?:insert|enter|fill\s+in|add|specify|replace|provide)\s[^\[\]<>{}\n]{1,80}"
_INSIDE = rf"\s*(?:{_GAP}|{_ORDER})\s*"
_PLACEHOLDER = re.compile(
    rf"""
    \[{_INSIDE}\](?!\()                                       # not a Markdown link
  | <{_INSIDE}>
  | (?<![\w^\\}}])\$?\{{{{?\s*[a-z_][\w.-]*(?:\ [\w.-]+){{0,3}}\s*\}}\}}?(?!\}})   # not LaTeX
  | \(\s*insert\s[^()\n]{{1,80}}\shere\s*\)
  | %\([a-z_]\w*\)s
  | (?<=\w\ )n/a(?=\ \w) | \b(?:is|are|was|were|by|of|called|titled|named)\ n/a(?![\w/])
  | \blorem\s+ipsum\b
  | (?<=[^\s_])[^\S\n]+_{{3,}}(?!\w)                           # not a Markdown rule
    """,
    re.IGNORECASE | re.VERBOSE,
)

# "Author: N/A" is right about a film. A text that consists of such lines says nothing.
_NOT_APPLICABLE = re.compile(r"(?<![\w/])n/a(?![\w/])", re.IGNORECASE)
_WORDS_PER_NOT_APPLICABLE = 8


def placeholder(answer: AnswerText, thresholds: Thresholds) -> str | None:
    """Which gaps a text leaves open."""
    matches = [match[0].strip() for match in _PLACEHOLDER.finditer(answer.text)]
    not_applicable = _NOT_APPLICABLE.findall(answer.text)
    if not_applicable and len(answer.words) <= _WORDS_PER_NOT_APPLICABLE * len(not_applicable):
        matches += not_applicable
    if len(matches) <= thresholds.maximum_placeholders:
        return None
    return f"{len(matches)} placeholders: {', '.join(dict.fromkeys(matches))}"


Check = Callable[[AnswerText, Thresholds], str | None]

CHECKS: Sequence[tuple[str, Check]] = (
    ("truncated", stopped_at_limit),
    ("content_filter", content_filter),
    ("refusal", refusal),
    ("bad_encoding", bad_encoding),
    ("prompt_echo", prompt_echo),
    ("placeholder", placeholder),
    ("degenerate_repetition", degenerate_repetition),
    ("truncated", ends_inside_sentence),
    ("too_short", too_short),
    ("too_long", too_long),
    ("wrong_language", wrong_language),
)
"""Reason and check. A check returns what is wrong, for people, or None."""


REPORTED_CHECKS = CHECKS[:3]
"""Checks of what the service reports; an answer without prose must pass them, too."""


def check_text(answer: AnswerText, thresholds: Thresholds) -> None:
    """Checks one answer by itself.

    Args:
      answer: its prose; empty where it holds nothing but names.
      thresholds: when it counts as bad.

    Raises:
      RejectedAnswer: it fails a check; the reason is the check's.
    """
    for reason, check in CHECKS if answer.text else REPORTED_CHECKS:
        detail = check(answer, thresholds)
        if detail is not None:
            raise RejectedAnswer(reason, detail)


_DIGEST_BYTES = 16


class Duplicates:
    """Remembers accepted answers; the first for an entity, and the first of equal texts, counts.

    Holds some hundred bytes per answer, not its text.

    Args:
      allow_equal_texts: whether two entities may have the same answer; to the same prompt they may
        anyhow.
    """

    def __init__(self, allow_equal_texts: bool = False):
        self._allow_equal_texts = allow_equal_texts
        self._entities: dict[tuple[str, str, str], tuple[Location, bytes | None]] = {}
        self._texts: dict[bytes, tuple[Location, bytes | None]] = {}

    def add(self, answer: Answer, text: AnswerText | None = None) -> None:
        """Remembers an answer.

        Args:
          answer: the answer.
          text: its text; None where texts are not compared.

        Raises:
          RejectedAnswer: it is there already; it is not remembered again.
        """
        digest = None if text is None else normalised_digest(text)
        entity = (answer.source, answer.extraction, answer.entity_id)
        if entity in self._entities:
            first, first_digest = self._entities[entity]
            detail = f"same entity as line {first.line} of {first.file}"
            if digest is not None:
                detail += f", with {'the same' if digest == first_digest else 'another'} text"
            raise RejectedAnswer("duplicate_entity", detail)
        if digest is not None and not self._allow_equal_texts:
            prompt = None if answer.prompt is None else _digest(answer.prompt)
            first, first_prompt = self._texts.setdefault(digest, (answer.location, prompt))
            if first != answer.location and (prompt is None or prompt != first_prompt):
                detail = f"same text as line {first.line} of {first.file}, for another entity"
                raise RejectedAnswer("duplicate_answer", detail)
        self._entities[entity] = (answer.location, digest)


def normalised_digest(text: AnswerText) -> bytes:
    """Hash of the words, apart from case, punctuation and white space."""
    return _digest(" ".join(text.words) or text.text)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()
