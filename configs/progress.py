"""Progress of long work: a bar on a terminal, elsewhere now and then a line that a log can keep."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm

from configs.command_line import say

SECONDS_BETWEEN_LINES = 60.0


def progress(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """A progress on standard error; the arguments are those of `tqdm`.

    Where standard error is no terminal, nothing is drawn. After a minute, and then every minute,
    there is a line with what is done, the rate and the time that is left.
    """
    if sys.stderr.isatty():
        return tqdm(items, **options)
    return _Lines(items, **options)


class _Lines(tqdm):
    """Prints lines instead of drawing a bar."""

    def __init__(self, items: Iterable[Any] | None, **options: Any):
        self._said = time.monotonic()
        # What tqdm itself writes, such as the end of the bar's line, goes nowhere.
        options |= {"file": io.StringIO(), "mininterval": 1.0, "miniters": 1}
        super().__init__(items, **options)

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        """Prints a line when one is due."""
        del msg, pos
        if time.monotonic() - self._said < SECONDS_BETWEEN_LINES:
            return
        self._said = time.monotonic()
        say(self._line())

    def __del__(self) -> None:
        """Prints nothing: garbage collection comes long after the work ended."""

    def _line(self) -> str:
        state = self.format_dict
        unit, is_scaled = state["unit"].strip(), bool(state["unit_scale"])
        counted = [state["n"], *([] if state["total"] is None else [state["total"]])]
        done = " of ".join(
            self.format_sizeof(count, unit) if is_scaled else f"{count:,}" for count in counted
        )
        made = state["n"] - state["initial"]
        rate = state["rate"] or made / max(state["elapsed"], 1e-9)
        units = unit if is_scaled or unit.endswith("s") else f"{unit}s"
        named = f"{state['prefix']}: " if state["prefix"] else ""
        speed = self.format_sizeof(rate, unit) if is_scaled else f"{rate:.3g} {units}"
        line = f"{named}{done}{'' if is_scaled else f' {units}'}, {speed}/s"
        if state["total"] is not None and rate > 0:
            left = (state["total"] - state["n"]) / rate
            line += f", {self.format_interval(left)} left"
        return f"{line}, {state['postfix']}" if state["postfix"] else line
