"""Documents for people, filled in from Jinja templates that lie beside the code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape


def render(
    template: Path,
    values: Mapping[str, object],
    filters: Mapping[str, Callable[..., object]] | None = None,
) -> str:
    """Fills in a template.

    In HTML every value is escaped. In Markdown, the filter `cell` makes of a value a text that
    ends neither its cell nor its line.

    Args:
      template: a file named `*.html.jinja` or `*.md.jinja`.
      values: name in the template -> value.
      filters: name in the template -> function of a value, beside Jinja's own.

    Raises:
      jinja2.UndefinedError: the template asks for a value that is not given.
    """
    environment = Environment(
        loader=FileSystemLoader(template.parent),
        autoescape=select_autoescape(["html.jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"cell": _cell, **(filters or {})}
    return environment.get_template(template.name).render(values)


def _cell(value: object) -> str:
    return " ".join(str(value).replace("|", r"\|").split())
