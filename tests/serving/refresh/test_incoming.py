from __future__ import annotations

from preprocessing.answers.record import Place
from serving.refresh.incoming import Entry, Records


def test_a_record_is_accepted_when_any_of_its_entries_is_used() -> None:
    places = [Place("new.jsonl", line) for line in range(1, 5)]
    entries = [
        Entry(places[0], "mood", False, "1", text="slow"),
        Entry(places[0], "genre", False, "1", text="western"),
        Entry(places[1], "mood", False, "2", text="..."),
    ]
    records = Records(places, entries)
    records.reject(places[0], "zero_vector", "of mood")
    records.reject(places[1], "zero_vector", "of mood")
    records.reject(places[1], "missing_factor", "a second reason")
    records.reject(places[2], "too_short", "")
    records.reject(places[3], "too_short", "")
    assert records.summary([entries[1]]) == {
        "read": 4,
        "accepted": 1,
        "rejected": 3,
        "rejected_by_reason": {"too_short": 2, "zero_vector": 1},
    }
    assert records.rejected([entries[1]])[places[1]] == ("zero_vector", "of mood")
