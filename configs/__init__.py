"""Scenario files and the typed configuration that every program reads them with."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

__version__ = "0.1.0"

_PROJECT = Path(__file__).resolve().parent.parent

if importlib.util.find_spec("pydantic") is None and (
    sys.argv[0] == "-m" or _PROJECT in Path(sys.argv[0]).resolve().parents
):
    print(
        f"error: {sys.executable} has not the packages of this project; use .venv/bin/python "
        "('make setup' makes it)",
        file=sys.stderr,
    )
    sys.exit(2)
