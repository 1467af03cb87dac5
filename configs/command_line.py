"""What every command of the three programs shares: options, exit codes, and where output goes.

People's output goes to stderr. With `--json` stdout carries one JSON object and nothing else. A
user's mistake ends in one clear message and an exit code, never in a traceback.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import platform
import re
import shutil
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import NoneType
from typing import Annotated, Any, Literal, NoReturn, TypeAlias, TypeVar, get_args, get_origin

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from configs import __version__
from configs.completion import SHELLS, completion_script
from configs.effects import useless_options
from configs.loading import (
    ConfigurationError,
    described_keys,
    did_you_mean,
    load_scenario,
    nothing_there,
)
from configs.scenario import Scenario
from configs.schema import allowed_values, values_of
from configs.section import Metavar, OneOf, Section

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_WRONG_USAGE = 2
EXIT_REJECTED_INPUT = 3
EXIT_CODES_HELP = """\
exit codes:
  0 done, 1 failed, 2 wrong usage or configuration, or a path to nothing,
  3 done in part: rejected records under --strict, or failed calls of `generate`"""


class CommandError(Exception):
    """A command cannot do its work; the message says what is wrong and the fix (exit code 1).

    Attributes:
      result: the JSON result, printed all the same; None when there is none.
    """

    def __init__(self, message: str, result: Mapping[str, object] | None = None):
        super().__init__(message)
        self.result = result


class RejectedInput(Exception):
    """Work is done but for what was rejected, or had no answer (exit code 3).

    Attributes:
      result: the command's JSON result, printed all the same.
    """

    def __init__(self, message: str, result: Mapping[str, object]):
        super().__init__(message)
        self.result = result


Command = Callable[[argparse.Namespace], Mapping[str, object]]
Subparsers: TypeAlias = "argparse._SubParsersAction[TeachingParser]"


def say(message: str) -> None:
    """Prints a line for people, on stderr."""
    print(message, file=sys.stderr, flush=True)


def set_up_tensorflow() -> None:
    """Starts TensorFlow with Keras 2, as TensorFlow Recommenders needs it, and quietly.

    Must run before TensorFlow is first imported. Variables already set in the environment win:
    `TF_CPP_MIN_LOG_LEVEL=0` shows everything. What its C++ side logs as errors, such as that the
    processor lacks an instruction, is hidden: true ones reach Python as exceptions.
    """
    os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if "tensorflow" in sys.modules or os.environ["TF_CPP_MIN_LOG_LEVEL"] == "0":
        return
    with _native_stderr_held_back():
        import tensorflow

        tensorflow.config.list_physical_devices()
        tensorflow.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def _native_stderr_held_back() -> Iterator[None]:
    """Keeps what is written to file descriptor 2; shows it if an exception leaves the block.

    TensorFlow's C++ side writes its first lines before its log level counts.
    """
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held_back:
        original = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        except BaseException:
            held_back.seek(0)
            os.write(original, held_back.read())
            raise
        finally:
            os.dup2(original, 2)
            os.close(original)


def add_scenario_options(parser: argparse.ArgumentParser) -> None:
    """Adds `--config` and the dotted overrides."""
    parser.add_argument(
        "--config",
        required=True,
        metavar="FILE.yaml",
        help="the scenario, e.g. configs/movielens_small.yaml",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="key=value",
        help="dotted overrides of the scenario, e.g. model.backbone=dcnv2 training.seed=2",
    )


def add_json_option(parser: argparse.ArgumentParser) -> None:
    """Adds `--json`."""
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on stdout, for programs"
    )


def add_dry_run_option(parser: argparse.ArgumentParser, meaning: str) -> None:
    """Adds `--dry-run`, which writes nothing."""
    parser.add_argument("--dry-run", action="store_true", help=f"{meaning}; write nothing")


def scenario_of(arguments: argparse.Namespace) -> Scenario:
    """The scenario that `--config` and the overrides name."""
    return load_scenario(arguments.config, arguments.overrides)


def add_field_options(
    parser: argparse._ActionsContainer,
    section: type[Section],
    names: Iterable[str] | None = None,
    stands_for: str | None = None,
) -> None:
    """Adds options whose type, range, choices, default and help are those of fields of a section.

    A field without a default is required. One that holds a tuple takes values joined by commas,
    one that holds a list takes several words.

    Args:
      parser: the parser, or a group of its options.
      section: has the fields.
      names: of the fields; all of them if None.
      stands_for: where the value of an option that is not given is taken from, for help: the
        section's dotted key. The option is None then. By default it has the field's default.
    """
    groups: dict[str, argparse._ActionsContainer] = {}
    schema = section.model_json_schema()
    for name in section.model_fields if names is None else names:
        field = section.model_fields[name]
        flag = f"--{name.replace('_', '-')}"
        owner = parser
        for declared in field.metadata:
            if isinstance(declared, OneOf):
                if declared.group not in groups:
                    groups[declared.group] = parser.add_mutually_exclusive_group()
                owner = groups[declared.group]
        is_required = field.is_required() and stands_for is None
        default = (
            None if stands_for or is_required else field.get_default(call_default_factory=True)
        )
        meaning = (field.description or "").replace("%", "%%")
        kind = _value_type(field.annotation)
        if kind is bool:
            owner.add_argument(flag, action="store_true", default=default, help=meaning)
            continue
        shown = f"{stands_for}.{name}" if stands_for else _spelled(default)
        choices = get_args(kind) if get_origin(kind) is Literal else None
        notes = [*_ranges(schema["properties"][name]), *([f"default: {shown}"] if shown else [])]
        metavar = _metavar(field, kind)
        owner.add_argument(
            flag,
            default=default,
            required=is_required,
            nargs="+" if get_origin(kind) is list else None,
            choices=choices,
            type=str if choices else _reader(field, kind, metavar),
            metavar=None if choices else metavar,
            help=f"{meaning} ({'; '.join(notes)})" if notes else meaning,
        )


AnySection = TypeVar("AnySection", bound=Section)


def section_of(arguments: argparse.Namespace, section: type[AnySection]) -> AnySection:
    """The section that parsed options describe; what they do not have keeps its default.

    Raises:
      ConfigurationError: an option has no effect beside the others.
    """
    given = {name: value for name, value in vars(arguments).items() if name in section.model_fields}
    options = section.model_validate(given)
    useless = useless_options(section, options.model_dump(mode="json"), given)
    if useless:
        reasons = ((one.key, one.reason.removeprefix(one.key)) for one in useless)
        raise ConfigurationError(
            "\n".join(f"--{key.replace('_', '-')}{reason}" for key, reason in reasons)
        )
    return options


def _value_type(annotation: Any) -> Any:
    """The type of a field without its constraints, also of one that may be None."""
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    if len(kinds) == 1 and NoneType in get_args(annotation):
        annotation = kinds[0]
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _metavar(field: FieldInfo, kind: Any) -> str:
    declared = [metavar.text for metavar in field.metadata if isinstance(metavar, Metavar)]
    if declared:
        return declared[0]
    unit = _value_type(get_args(kind)[0]) if get_origin(kind) in (list, tuple) else kind
    return "N" if unit in (int, float) else "NAME"


def _ranges(described: Mapping[str, Any]) -> list[str]:
    """The range of a number, or of the numbers of a list."""
    values = values_of(described).removesuffix(" or null")
    ranges = re.findall(r"\b(?:whole )?number (?:from|above|to|below) .*", values)
    return [ranges[0]] if ranges else []


def _spelled(default: object) -> str:
    """A default as a user would give it; empty for none."""
    if isinstance(default, tuple | list):
        return (" " if isinstance(default, list) else ",").join(map(_spelled, default))
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default is None else str(default)


def _reader(field: FieldInfo, kind: Any, metavar: str) -> Callable[[str], Any]:
    """Reads an option's value as a field's, of a list one word's, for argparse's `type`."""
    is_joined = get_origin(kind) is tuple
    read_kind: Any = field.annotation
    if get_origin(kind) is list:
        (read_kind,) = get_args(kind)
    else:
        for constraint in field.metadata:
            read_kind = Annotated[read_kind, constraint]
    adapter: TypeAdapter[Any] = TypeAdapter(read_kind, config=ConfigDict(allow_inf_nan=False))

    def read(text: str) -> Any:
        try:
            return adapter.validate_python(text.split(",") if is_joined else text)
        except ValidationError as error:
            reason = error.errors()[0]["msg"].removeprefix("Value error, ")
            reason = reason.replace("Input should be greater", "a number greater")
            reason = reason.replace("Input should be less", "a number less")
            reason = reason.removeprefix("Input should be ")
            if is_joined:
                reason = f"{metavar}: {reason}"
            if not reason.startswith("expected"):
                reason = f"expected {reason}"
            raise argparse.ArgumentTypeError(f"{reason}. Received: {text!r}") from error

    return read


def keys_help(
    prefixes: Sequence[str],
    section: type[Section] = Scenario,
    title: str = "scenario keys it reads:",
) -> str:
    """A paragraph that lists the keys a command reads, with values, default and meaning.

    Args:
      prefixes: of the keys.
      section: what the command's configuration file holds.
      title: the line above them.
    """
    lines = [title]
    allowed = allowed_values(section)
    for key, description in described_keys(section).items():
        if any(key.startswith(prefix) for prefix in prefixes):
            lines += [f"  {key}  ({allowed[key]})", *([f"      {description}"] * bool(description))]
    return "\n".join(lines)


class _TeachingFormatter(argparse.RawDescriptionHelpFormatter):
    """Fills paragraphs to the terminal's width; indented lines stay, and are wrapped if longer."""

    def __init__(self, prog: str):
        super().__init__(prog, width=max(40, shutil.get_terminal_size((102, 24)).columns - 2))

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        paragraphs: list[str] = []
        for line in text.splitlines():
            is_prose = bool(line) and not line[0].isspace()
            if is_prose and paragraphs and paragraphs[-1][:1].strip():
                paragraphs[-1] += f" {line}"
            else:
                paragraphs.append(line)
        pairs = zip(["", *paragraphs], paragraphs, strict=False)
        lines = [
            # A command is copied as it is.
            indent + paragraph
            if before.endswith("\\") or paragraph.lstrip().startswith("python -m")
            else self._wrapped(paragraph, width, indent)
            for before, paragraph in pairs
        ]
        return "\n".join(lines) + "\n"

    def _wrapped(self, paragraph: str, width: int, indent: str) -> str:
        if len(paragraph) <= width:
            return indent + paragraph
        margin = " " * (len(paragraph) - len(paragraph.lstrip()))
        deeper = margin + "  " if margin and not margin.startswith(" " * 6) else margin
        return textwrap.fill(
            paragraph.strip(),
            width,
            initial_indent=indent + margin,
            subsequent_indent=indent + deeper,
            break_long_words=False,
            break_on_hyphens=False,
        )


def program_parser(prog: str, description: str) -> TeachingParser:
    """The parser of a program, with `--version` and `--completion`; commands are added to it.

    Args:
      prog: how it is called, "python -m NAME".
      description: its help.
    """
    parser = TeachingParser(prog=prog, description=description, epilog=EXIT_CODES_HELP)
    parser.add_argument("--version", action=_PrintVersion, nargs=0, help="show the version")
    parser.add_argument(
        "--completion",
        action=_PrintCompletion,
        choices=SHELLS,
        help="print what completes commands, options and keys in a shell: "
        f'eval "$({prog} --completion bash)"',
    )
    return parser


class _PrintVersion(argparse.Action):
    """Prints the version and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> NoReturn:
        print(f"reki {__version__} (Python {platform.python_version()})")
        parser.exit()


class _PrintCompletion(argparse.Action):
    """Prints the completion script of the program and ends."""

    def __call__(
        self, parser: argparse.ArgumentParser, _: argparse.Namespace, shell: Any, *rest: Any
    ) -> NoReturn:
        print_output(completion_script(parser, shell))
        parser.exit()


class TeachingParser(argparse.ArgumentParser):
    """A parser whose help is filled to the terminal and whose errors point to the help."""

    def __init__(self, *args: Any, **kwargs: Any):
        kwargs.setdefault("formatter_class", _TeachingFormatter)
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parses as argparse does, but lets overrides stand before, between and after options.

        What a command does not know is its own error, and not left to the program.
        """
        parsed, left_over = super().parse_known_args(args, namespace)
        if self._subparsers is not None and hasattr(parsed, "run"):
            return parsed, left_over
        misplaced = [word for word in left_over if "=" in word and not word.startswith("-")]
        if hasattr(parsed, "overrides"):
            parsed.overrides = [*parsed.overrides, *misplaced]
            left_over = [word for word in left_over if word not in misplaced]
        if left_over:
            options = [option for option in self._option_string_actions if option != "-h"]
            word = next((word for word in left_over if word.startswith("--")), None)
            nearest = did_you_mean(word.partition("=")[0], options) if word else ""
            self.error(f"unrecognized arguments: {' '.join(left_over)}.{nearest}".rstrip("."))
        return parsed, left_over

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            nearest = did_you_mean(str(value), map(str, action.choices or ()))
            message = f"{error.message}.{nearest}" if nearest else error.message
            raise argparse.ArgumentError(action, message) from error

    def error(self, message: str) -> NoReturn:
        """Says what is wrong and where the help is, and ends with exit code 2."""
        self.exit(EXIT_WRONG_USAGE, f"{self.prog}: {message}\nTry '{self.prog} --help'.\n")


def system_error_text(error: OSError) -> str:
    """What the operating system refused; for a full disk with the space that is left."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return str(error)
    path = error.filename2 or error.filename
    if path is None:
        return f"{error}; make room and give the command again, what is finished is kept"
    return (
        f"{path}: the disk is full ({error.strerror}), {free_space(path)} are free there; "
        "make room or name another folder, and give the command again: what is finished is kept"
    )


def warn_of_little_space(folder: str | Path, needed: int, what: str) -> None:
    """Says before the work when its result may not fit; nothing where that cannot be asked.

    Args:
      folder: where the result will lie; it need not exist yet.
      needed: bytes that are expected.
      what: the result, for the message.
    """
    free = _free_bytes(folder)
    if free is not None and needed > free:
        say(
            f"warning: {what} may need {needed / 1e6:,.1f} MB, and {folder} has "
            f"{free / 1e6:,.1f} MB left; stop now and make room, or risk a full disk"
        )


def _free_bytes(path: str | Path) -> int | None:
    existing = Path(path).absolute()
    for folder in (existing, *existing.parents):
        if folder.exists():
            try:
                return shutil.disk_usage(folder).free
            except OSError:
                return None
    return None


def free_space(path: str | Path) -> str:
    """The space that is left where a path is or will be, for messages."""
    free = _free_bytes(path)
    return "unknown MB" if free is None else f"{free / 1e6:,.1f} MB"


def print_output(text: str) -> None:
    """Prints on standard output what programs read; ends without a word if they stop, as `head`."""
    try:
        print(text, flush=True)
    except BrokenPipeError:
        # What is left in the buffer would be an error again when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(EXIT_FAILED) from None


def run_command(command: Command, arguments: argparse.Namespace) -> int:
    """Runs a command, prints its result and maps what went wrong to an exit code.

    Args:
      command: takes the parsed arguments and returns the JSON result.
      arguments: parsed arguments; `json` says whether the result is printed.

    Returns:
      The exit code: 0 done, 1 failed, 2 wrong usage or configuration, 3 done in part.
    """
    try:
        result = command(arguments)
        code = EXIT_DONE
    except ConfigurationError as error:
        say(f"error: {error}")
        return EXIT_WRONG_USAGE
    except FileNotFoundError as error:
        path = error.filename2 or error.filename
        say(f"error: {error if path is None else nothing_there(path)}")
        return EXIT_FAILED if path is None else EXIT_WRONG_USAGE
    except OSError as error:
        say(f"error: {system_error_text(error)}")
        return EXIT_FAILED
    except CommandError as error:
        say(f"error: {error}")
        if error.result is None:
            return EXIT_FAILED
        result = error.result
        code = EXIT_FAILED
    except RejectedInput as error:
        say(f"rejected: {error}")
        result = error.result
        code = EXIT_REJECTED_INPUT
    except KeyboardInterrupt:
        say("stopped")
        return EXIT_FAILED
    if getattr(arguments, "json", False):
        print_output(json.dumps(result, allow_nan=False))
    return code
