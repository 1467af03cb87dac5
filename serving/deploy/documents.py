"""Text of YAML and JSON documents: the same bytes for the same content."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping

import yaml

Document = Mapping[str, object]


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as blocks, and no references between equal parts."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def yaml_text(comment: str, *documents: Document) -> str:
    """YAML documents below a comment.

    Args:
      comment: paragraphs, parted by empty lines; wrapped here.
      documents: in the order of the file; keys stay in their order.
    """
    paragraphs = [
        textwrap.wrap(paragraph, 97, break_on_hyphens=False) for paragraph in comment.split("\n\n")
    ]
    header = "\n#\n".join("\n".join(f"# {line}" for line in lines) for lines in paragraphs)
    bodies = [
        yaml.dump(
            dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000
        )
        for document in documents
    ]
    return header + "\n" + "---\n".join(bodies)


def json_text(document: Document) -> str:
    """A JSON document."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
