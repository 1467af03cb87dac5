from __future__ import annotations

import gc
import sys

import pytest

from configs import progress as progress_module
from configs.progress import progress


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time of day, which a test moves on."""
    now = [1000.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    return now


def test_a_log_gets_a_line_a_minute_with_rate_and_time_left(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with progress(total=2000, desc="generate", unit="prompt") as bar:
        bar._time = lambda: clock[0]
        bar.start_t = bar.last_print_t = clock[0]
        for _ in range(6):
            clock[0] += 30
            bar.update(60)
    said = capsys.readouterr().err
    assert said.splitlines() == [
        "generate: 120 of 2,000 prompts, 2 prompts/s, 15:40 left",
        "generate: 240 of 2,000 prompts, 2 prompts/s, 14:40 left",
        "generate: 360 of 2,000 prompts, 2 prompts/s, 13:40 left",
    ]
    assert "\r" not in said


def test_short_work_and_work_of_unknown_length(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    assert list(progress("abc", unit=" letters")) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""
    with progress(desc="a.zip", unit="B", unit_scale=True, initial=500) as bar:
        bar._time = lambda: clock[0]
        bar.start_t = bar.last_print_t = clock[0]
        clock[0] += 100
        bar.update(2_000_000)
    assert capsys.readouterr().err == "a.zip: 2.00MB, 20.0kB/s\n"


def test_a_progress_that_nobody_closed_says_nothing_when_it_is_collected(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    bar = progress(desc="encode", unit="text")
    bar.update(5)
    clock[0] += 100
    del bar
    gc.collect()
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert list(progress("abc", desc="letters")) == ["a", "b", "c"]
    said = capsys.readouterr().err
    assert "\r" in said and "letters" in said and "3/3" in said
