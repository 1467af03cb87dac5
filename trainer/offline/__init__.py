"""Evaluation of parts that memory does not hold: scores in a file, sorted on disk, counted once."""
