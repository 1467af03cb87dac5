from __future__ import annotations

from preprocessing.dead_letters import dead_letter
from preprocessing.interactions.reading import by_reason


def test_dead_letters_are_counted_by_reason():
    letters = [dead_letter("log.csv", line, f"reason{line % 2}", "") for line in range(5)]
    assert by_reason(letters) == {"reason0": 3, "reason1": 2}
    assert by_reason([]) == {}
