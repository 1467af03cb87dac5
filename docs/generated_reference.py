"""Text of reference pages, made from the code; a page has `<!-- made: NAME -->` in its place.

Options come from the fields of `configs`, commands from the programs' parsers, features from the
record contract, and classes and functions from the source text with its docstrings. Nothing here
needs TensorFlow, Beam or Sphinx.
"""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from unittest import mock

from pydantic import BaseModel

from configs.command_line import TeachingParser
from configs.effects import section_type
from configs.scenario import Scenario
from configs.schema import allowed_values
from preprocessing.records.contract import FEATURES_OF_KIND, KNOWLEDGE_FEATURES, Feature

ROOT = Path(__file__).resolve().parents[1]
PROGRAMS = tuple(sorted(path.parent.name for path in ROOT.glob("*/__main__.py")))
"""Folders that `python -m` runs."""

ROOMS = ("configs", "preprocessing", "models", "trainer", "serving")

API = {
    "models/knowledge.py": ["KnowledgeTable"],
    "models/hein.py": ["HybridExpertNetwork"],
    "models/match/layer.py": ["KnowledgeMatch"],
    "models/adapters/base.py": ["KnowledgeAdapter"],
    "models/adapters/source_network.py": ["NetworkAdapter"],
    "preprocessing/records/knowledge.py": ["KnowledgeVectors", "read_knowledge"],
    "preprocessing/records/parsing.py": ["parse_examples", "with_masks", "example_dataset"],
    "serving/client/inputs.py": ["UserRequest"],
    "serving/client/ranking.py": ["RankingClientBase"],
    "serving/client/grpc_client.py": ["RankingClient", "AsyncRankingClient"],
    "serving/client/rest_client.py": ["RestRankingClient"],
    "serving/client/connection.py": ["Connection", "Tls"],
    "serving/client/retries.py": ["Hedging"],
    "serving/client/responses.py": ["RankingAnswer", "RetrievedItems"],
    "serving/client/errors.py": ["RankingError", "ServerUnavailable", "ProfileError"],
}
"""Source file -> its classes and functions that code outside this project uses."""


def filled(page: str) -> str:
    """A page with the text made from the code in the place of its comments.

    Args:
      page: Markdown.

    Raises:
      KeyError: a comment names a text that there is not.
    """
    return re.sub(r"<!-- made: (\w+) -->", lambda comment: _TEXTS[comment[1]](), page)


def configuration() -> str:
    """Every key of a scenario: one table for each section."""
    return "\n".join(_section(Scenario, ""))


def _section(section: type[BaseModel], prefix: str) -> Iterator[str]:
    keys, below = [], []
    for name, field in section.model_fields.items():
        inner, is_map = section_type(field.annotation)
        if inner is not None:
            below.append((inner, f"{prefix}{name}.<name>." if is_map else f"{prefix}{name}."))
            continue
        values, _, default = allowed_values()[f"{prefix}{name}"].partition("; ")
        default = default.removeprefix("default: ")
        shown = {"required": "required", "": "empty"}.get(default, f"`{default}`")
        keys.append((f"`{prefix}{name}`", values, shown, _plain(field.description or "")))
    if keys:
        yield f"\n## {f'`{prefix[:-1]}`' if prefix else 'Scenario'}\n"
        if prefix:
            yield _sentence(inspect.getdoc(section) or "") + "\n"
        yield _table(("key", "values", "default", "meaning"), keys)
    for inner, under in below:
        yield from _section(inner, under)


def commands() -> str:
    """Every command of the programs: what it does, its options, the keys that it reads."""
    lines = []
    for program in PROGRAMS:
        lines.append(f"\n## `python -m {program}`\n")
        for name, parser in commands_of(program).items():
            lines.append(f"### `{program} {name}`\n")
            lines.append(_block(parser.description or ""))
            lines.append(
                _table(
                    ("option", "meaning"),
                    [_option(action) for action in parser._actions if action.dest != "help"],
                )
            )
            if parser.epilog:
                lines += [
                    "<details><summary>Keys and exit codes</summary>\n",
                    _block(parser.epilog),
                ]
                lines.append("</details>\n")
    return "\n".join(lines)


class _Built(Exception):
    """Brings a program's parser out of its `main`, which makes it anew at every call."""


def commands_of(program: str) -> Mapping[str, TeachingParser]:
    """Parsers of a program's commands by name.

    Args:
      program: one of `PROGRAMS`.
    """

    def take(parser: TeachingParser, *_: object) -> None:
        raise _Built(parser)

    with mock.patch.object(TeachingParser, "parse_args", take):
        try:
            importlib.import_module(f"{program}.__main__").main([])
        except _Built as built:
            for action in built.args[0]._actions:
                if isinstance(action, argparse._SubParsersAction):
                    return action.choices
    raise LookupError(f"python -m {program} has no commands")


def _option(action: argparse.Action) -> tuple[str, str]:
    metavar = action.metavar or (action.choices and "{" + ",".join(action.choices) + "}")
    value = f" {metavar}" if action.nargs != 0 and metavar else ""
    names = [f"`{name}{value}`" for name in action.option_strings] or [f"`{metavar}`"]
    meaning = (action.help or "") % {**vars(action), "prog": ""}
    required = " (required)" if action.required and action.option_strings else ""
    return ", ".join(names), _plain(f"{meaning}{required}")


def records() -> str:
    """Every feature of every kind of record."""
    kinds = {f"{kind} examples": features for kind, features in FEATURES_OF_KIND.items()}
    lines = []
    for kind, features in {**kinds, "knowledge records": KNOWLEDGE_FEATURES}.items():
        lines += [f"\n## {kind[0].upper()}{kind[1:]}\n", _features(features)]
    return "\n".join(lines)


def _features(features: Iterable[Feature]) -> str:
    rows = [
        (
            f"`{feature.name}`",
            f"`{feature.type.value}`, {'any number' if feature.is_list else 'one'}",
            feature.description,
        )
        for feature in features
    ]
    return _table(("feature", "list of tf.train.Feature, values", "meaning"), rows)


def api() -> str:
    """Classes and functions for other people's code: signatures and docstrings."""
    lines = []
    for file, names in API.items():
        module = file.removesuffix(".py").replace("/", ".").removesuffix(".layer")
        tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
        defined = {node.name: node for node in tree.body if isinstance(node, _DEFINITIONS)}
        lines += [f"\n## `{module}`\n", _docstring(tree)]
        for name in names:
            lines += _definition(defined[name])
    return "\n".join(lines)


def errors() -> str:
    """Every message with which the code ends a command or refuses something, by room."""
    lines = []
    for room in ROOMS:
        messages: dict[str, set[str]] = {}
        for path in sorted((ROOT / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Raise) and (message := _message(node.exc)):
                    messages.setdefault(message, set()).add(str(path.relative_to(ROOT)))
        rows = [
            (f"`{message}`", ", ".join(f"`{file}`" for file in sorted(messages[message])))
            for message in sorted(messages, key=str.casefold)
        ]
        lines += [f"\n## From `{room}`\n", _table(("message", "file"), rows)]
    return "\n".join(lines)


def _message(raised: ast.expr | None) -> str | None:
    """The text of an exception, with `…` for what is put into it; None where it has none."""
    if not isinstance(raised, ast.Call) or not raised.args:
        return None
    text = raised.args[0]
    parts = text.values if isinstance(text, ast.JoinedStr) else [text]
    words = [
        str(part.value) if isinstance(part, ast.Constant) else "…"
        for part in parts
        if isinstance(part, ast.Constant | ast.FormattedValue)
    ]
    message = " ".join("".join(words).replace("`", "'").split())
    return message if len(re.findall(r"[a-z]{2,}(?= |$)", message)) >= 3 else None


_DEFINITIONS = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def _definition(node: Definition) -> Iterator[str]:
    yield f"### `{node.name}`\n"
    if not isinstance(node, ast.ClassDef):
        yield _block(_signature(node), "python")
        yield _docstring(node)
        return
    public = [
        part
        for part in node.body
        if isinstance(part, ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(part)
        and (part.name == "__init__" or not part.name.startswith("_"))
    ]
    for part in public:
        if part.name == "__init__":
            yield _block(_signature(part, node.name), "python")
    yield _docstring(node)
    for base in map(ast.unparse, node.bases):
        if any(base in names for names in API.values()):
            yield f"It has what `{base}`, above, has.\n"
    for part in public:
        if part.name == "__init__":
            yield _docstring(part)
            continue
        yield f"#### `{node.name}.{part.name}`\n"
        if any(ast.unparse(decorator) == "property" for decorator in part.decorator_list):
            yield f"Property: `{ast.unparse(part.returns) if part.returns else 'any'}`.\n"
        else:
            yield _block(_signature(part), "python")
        yield _docstring(part)


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str = "") -> str:
    """The call, without `self` and `cls`, and the type of its result; `name` in a class's place."""
    parts = _split_at_commas(ast.unparse(node.args))
    if parts[:1] in (["self"], ["cls"]):
        del parts[0]
    result = f" -> {ast.unparse(node.returns)}" if node.returns and not name else ""
    short = f"{name or node.name}({', '.join(parts)}){result}"
    if len(short) <= 80:
        return short
    return f"{name or node.name}(\n    " + ",\n    ".join(parts) + f",\n){result}"


def _split_at_commas(arguments: str) -> list[str]:
    """Arguments of a signature one by one; commas within brackets do not part them."""
    parts = [""]
    for word in re.split(r"(, )", arguments):
        is_open = sum(parts[-1].count(mark) for mark in "([{") > sum(map(parts[-1].count, ")]}"))
        if word == ", " and not is_open:
            parts.append("")
        else:
            parts[-1] += word
    return [re.sub(r"^([*\w]+: .*?)=", r"\1 = ", part) for part in parts if part]


def _docstring(node: ast.Module | Definition) -> str:
    """A Google-style docstring as Markdown: its sections' entries become lists."""
    lines: list[str] = []
    part, is_code = "", False
    for line in (ast.get_docstring(node) or "").splitlines():
        entry = re.fullmatch(r"  (\*{0,2}[\w.]+): (.*)", line)
        starts = re.fullmatch(r"(Args|Attributes|Returns|Raises|Yields|Example):", line)
        if is_code and (starts or (line and not line.startswith(" "))):
            lines.append("```\n")
            is_code = False
        if starts:
            part = starts[1]
            lines.append(f"\n**{part}**\n")
            if part == "Example":
                lines.append("```python")
                is_code = True
        elif is_code:
            lines.append(line[2:])
        elif part in ("Args", "Attributes", "Raises") and entry:
            lines.append(f"- `{entry[1]}`: {entry[2]}")
        else:
            lines.append(line[2:] if part == "Returns" else line)
    return "\n".join([*lines, *(["```"] if is_code else []), ""])


def _plain(text: str) -> str:
    """Text in which `<name>` is no HTML; what stands in backticks is left as it is."""
    parts = text.split("`")
    return "`".join([part if at % 2 else part.replace("<", "\\<") for at, part in enumerate(parts)])


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in lines]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells)


def _sentence(docstring: str) -> str:
    return docstring.split("\n\n")[0].replace("\n", " ")


def _block(text: str, language: str = "text") -> str:
    return f"```{language}\n{text.rstrip()}\n```\n"


_TEXTS: Mapping[str, Callable[[], str]] = {
    "configuration": configuration,
    "commands": commands,
    "records": records,
    "api": api,
    "errors": errors,
}
