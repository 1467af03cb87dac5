from __future__ import annotations

from preprocessing.inspection.user_checks import PartTimes


def test_parts_follow_each_other_over_all_users():
    times = PartTimes()
    for part, time in [(0, 5), (1, 7), (0, 6), (2, 9), (1, 8)]:
        times.add(part, time)
    assert list(times.problems()) == []
    times.add(0, 7)
    assert list(times.problems()) == ["train ends at time 7, validation begins at 7"]


def test_missing_parts_are_left_out():
    times = PartTimes()
    assert list(times.problems()) == []
    times.add(2, 3)
    times.add(0, 4)
    assert list(times.problems()) == ["train ends at time 4, test begins at 3"]
