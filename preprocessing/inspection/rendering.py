"""Views as text for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_STATISTIC_COLUMNS = ("type", "records", "per record", "distinct", "minimum", "mean", "maximum")
_WIDEST_CELL = 40


def rendered(view: Mapping[str, Any]) -> Iterator[str]:
    """The lines of a view: nested names indented, records numbered, statistics as tables."""
    yield from _lines(view, "")


def _lines(tree: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in tree.items():
        if name == "records" and isinstance(value, list):
            yield from _record_lines(value, indent)
        elif name in ("features", "columns") and isinstance(value, Mapping):
            yield f"{indent}{name}:"
            yield from _table(_statistic_rows(value), indent + "  ")
        elif isinstance(value, Mapping) and value and not _is_abbreviation(value):
            yield f"{indent}{name}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: {_text(value)}"


def _record_lines(records: list[Any], indent: str) -> Iterator[str]:
    for number, record in enumerate(records, start=1):
        yield f"{indent}record {number}:"
        if isinstance(record, Mapping):
            width = max(map(len, record), default=0)
            for name, value in record.items():
                yield f"{indent}  {name:{width}}  {_text(value)}"


def _statistic_rows(features: Mapping[str, Mapping[str, Any]]) -> list[dict[str, str]]:
    """A row for each feature; what has no column stands in the last one."""
    rows = []
    for name, statistics in features.items():
        row = {"name": name}
        rest = []
        for key, value in statistics.items():
            if key == "values_per_record":
                row["per record"] = _range(value)
            elif key in _STATISTIC_COLUMNS:
                row[key] = _text(value)
            elif key == "most_common":
                rest.append("often " + ", ".join(f"{text!r} {count:,}" for text, count in value))
            elif value:
                rest.append(f"{key.replace('_', ' ')} {_text(value)}")
        row["more"] = "; ".join(rest)
        rows.append(row)
    return rows


def _table(rows: list[dict[str, str]], indent: str) -> Iterator[str]:
    columns = [name for name in ("name", *_STATISTIC_COLUMNS) if any(row.get(name) for row in rows)]
    cells = [columns, *([row.get(name, "")[:_WIDEST_CELL] for name in columns] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(columns))]
    for place, line in enumerate(cells):
        padded = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        more = rows[place - 1]["more"] if place else ""
        yield f"{indent}{'  '.join([*padded, more]).rstrip()}"


def _range(count: Mapping[str, Any]) -> str:
    if count["minimum"] == count["maximum"]:
        return _text(count["minimum"])
    return f"{_text(count['minimum'])} to {_text(count['maximum'])}, mean {_text(count['mean'])}"


def _is_abbreviation(value: Mapping[str, Any]) -> bool:
    return value.keys() == {"count", "first", "last"}


def _text(value: object) -> str:
    if isinstance(value, Mapping):
        if _is_abbreviation(value):
            ends = [", ".join(map(_text, value[end])) for end in ("first", "last")]
            return f"[{ends[0]}, ..., {ends[1]}] ({value['count']:,} values)"
        return ", ".join(f"{name} {_text(entry)}" for name, entry in value.items()) or "none"
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)
