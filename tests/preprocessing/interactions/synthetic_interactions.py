"""Interactions for tests, as parsed tables and as sequences."""

from __future__ import annotations

import pyarrow as pa

from preprocessing.interactions.reading import INTERACTION_SCHEMA
from preprocessing.interactions.sequences import UserSequences, order_interactions


def interaction_table(*rows: tuple[str, str, float, float]) -> pa.Table:
    """Rows (user, item, rating, time); the label is 1 from a rating of 4, lines count from 2."""
    return pa.Table.from_pylist(
        [
            {
                "user": user,
                "item": item,
                "rating": rating,
                "label": int(rating >= 4),
                "order": float(time),
                "timestamp": int(time),
                "part": -1,
                "extra_labels": 0,
                "file": 0,
                "line": line,
            }
            for line, (user, item, rating, time) in enumerate(rows, start=2)
        ],
        schema=INTERACTION_SCHEMA,
    )


def changed(table: pa.Table, **columns: list) -> pa.Table:
    """The table with other values in some columns."""
    for name, values in columns.items():
        place = INTERACTION_SCHEMA.get_field_index(name)
        field = INTERACTION_SCHEMA.field(name)
        table = table.set_column(place, field, pa.array(values, field.type))
    return table


def sequences_of(table: pa.Table, order: str | None = "time") -> UserSequences:
    """The sequences of interactions in one file; item ids are no numbers."""
    return order_interactions(table, ["log.csv"], integer_items=False, order=order)[0]


def counted_sequences(counts: list[int]) -> UserSequences:
    """Users user0, user1, ... with so many interactions each; times count up over all rows."""
    rows = [
        (f"user{user}", "item", 5.0, time)
        for user, count in enumerate(counts)
        for time in range(count)
    ]
    table = interaction_table(*rows)
    times = list(range(len(rows)))
    return sequences_of(changed(table, timestamp=times, order=[float(time) for time in times]))
