"""Arrow tables as bytes: one Beam element holds thousands of rows."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa


def table_to_bytes(table: pa.Table) -> bytes:
    """Arrow IPC stream of a table, lightly compressed: runners may keep many of them."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def table_from_bytes(data: bytes) -> pa.Table:
    """Table of an Arrow IPC stream."""
    return pa.ipc.open_stream(data).read_all()


def concatenate(parts: Iterable[bytes], schema: pa.Schema) -> pa.Table:
    """One table of many IPC streams; empty when there are none."""
    return pa.concat_tables([schema.empty_table(), *map(table_from_bytes, parts)])
