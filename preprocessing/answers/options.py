"""Command-line options of reading and checking answers."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable

from preprocessing.answers.checks import LANGUAGES, TRUNCATION_LEVELS, Thresholds
from preprocessing.answers.formats import AUTO, FORMATS
from preprocessing.answers.record import QUALITY_REASONS
from preprocessing.records.contract import EXTRACTIONS


def add_answer_options(
    parser: argparse.ArgumentParser,
    metavar: str = "FILE",
    files_help: str = "answer files, .gz or not",
    files_needed: bool = True,
) -> None:
    """Adds the files, how to read them, and `--strict`."""
    number = "+" if files_needed else "*"
    parser.add_argument("files", nargs=number, metavar=metavar, help=files_help)
    parser.add_argument(
        "--format",
        choices=[AUTO, *FORMATS],
        default=AUTO,
        help="format of the files; auto tells it from their content (default: %(default)s)",
    )
    parser.add_argument(
        "--extraction",
        choices=EXTRACTIONS,
        help="whether answers are about entities or about groups of them (default: what a record "
        "or its custom_id says; else collective for openai-chat, individual for klg and id-text)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="exit with code 3 when records were rejected"
    )


def formats_help() -> str:
    """A paragraph that lists the formats."""
    width = max(map(len, FORMATS)) + 2
    lines = [f"  {name:{width}}{form.description}" for name, form in FORMATS.items()]
    return "\n".join(["formats:", *lines])


_DEFAULTS = Thresholds()


def add_quality_options(parser: argparse.ArgumentParser) -> None:
    """Adds one option per threshold."""
    group = parser.add_argument_group("when an answer counts as bad")
    group.add_argument(
        "--minimum-characters",
        type=_at_least_zero,
        default=_DEFAULTS.minimum_characters,
        metavar="N",
        help="shorter answers are too_short (default: %(default)s)",
    )
    group.add_argument(
        "--maximum-characters",
        type=_at_least_zero,
        default=_DEFAULTS.maximum_characters,
        metavar="N",
        help="longer answers are too_long (default: %(default)s)",
    )
    group.add_argument(
        "--truncation",
        choices=TRUNCATION_LEVELS,
        default=_DEFAULTS.truncation,
        help="how to tell that a text is cut off. off: only where the service reports it; clear: "
        "also a text that ends with a comma or a word like 'the'; likely: also running text "
        "without a full stop at its end; strict: any text without one (default: %(default)s)",
    )
    group.add_argument(
        "--language",
        choices=LANGUAGES,
        default=_DEFAULTS.language,
        help="language that answers must be in, judged by script and function words "
        "(default: %(default)s)",
    )
    group.add_argument(
        "--maximum-echo",
        type=_share,
        default=_DEFAULTS.maximum_echo,
        metavar="SHARE",
        help="share of an answer's 5-word phrases that its prompt may hold (default: %(default)s)",
    )
    group.add_argument(
        "--maximum-repetition",
        type=_share,
        default=_DEFAULTS.maximum_repetition,
        metavar="SHARE",
        help="share of 4-word phrases that may be repetitions, in the whole answer or in its last "
        "60 words (default: %(default)s)",
    )
    group.add_argument(
        "--maximum-bad-characters",
        type=_at_least_zero,
        default=_DEFAULTS.maximum_bad_characters,
        metavar="N",
        help="replacement, control and mis-decoded characters allowed (default: %(default)s)",
    )
    group.add_argument(
        "--maximum-placeholders",
        type=_at_least_zero,
        default=_DEFAULTS.maximum_placeholders,
        metavar="N",
        help="gaps such as '[unknown]', '{name}' or 'N/A' allowed (default: %(default)s)",
    )
    group.add_argument(
        "--allow-duplicates",
        action="store_true",
        help="let two entities have the same answer",
    )


def thresholds_of(arguments: argparse.Namespace) -> Thresholds:
    """The thresholds of a parsed command line."""
    return Thresholds(
        minimum_characters=arguments.minimum_characters,
        maximum_characters=arguments.maximum_characters,
        truncation=arguments.truncation,
        language=arguments.language,
        maximum_echo=arguments.maximum_echo,
        maximum_repetition=arguments.maximum_repetition,
        maximum_bad_characters=arguments.maximum_bad_characters,
        maximum_placeholders=arguments.maximum_placeholders,
        allow_duplicates=arguments.allow_duplicates,
    )


def quality_help() -> str:
    """A paragraph that lists the checks."""
    width = max(map(len, QUALITY_REASONS)) + 2
    lines = [
        textwrap.fill(
            meaning,
            width=100,
            initial_indent=f"  {reason:{width}}",
            subsequent_indent=" " * (width + 2),
        )
        for reason, meaning in QUALITY_REASONS.items()
    ]
    return "\n".join(["checks of each answer's text:", *lines])


def _number(
    convert: Callable[[str], float], low: float, high: float, wanted: str
) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = convert(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"'{text}' is not {wanted}")
        return value

    return parse


_at_least_zero = _number(int, 0, float("inf"), "a whole number from 0 on")


_share = _number(float, 0, 1, "a share between 0 and 1")
