"""Tables on disk, CSV, Parquet or JSON lines, read block by block into Arrow columns."""
