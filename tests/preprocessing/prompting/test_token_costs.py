from __future__ import annotations

from configs.prompting import Prompts
from preprocessing.answers.completion import estimated_tokens
from preprocessing.prompting.token_costs import (
    Prices,
    PromptCount,
    collective_saving,
    cost_rows,
    cost_table,
)

COUNTS = [
    PromptCount("item", "item", "individual", 1000, 60_000, texts=1000),
    PromptCount("item", "item", "collective", 25, 4_000, texts=25),
    PromptCount("user", "user", "individual", 300, 90_000, texts=300),
]
EXPECTED = Prompts(expected_answer_tokens=100, expected_name_tokens=7)


def test_four_bytes_are_a_token():
    assert [estimated_tokens(text) for text in ("", "a", "abcd", "abcde", "映画")] == [
        0,
        1,
        1,
        2,
        2,
    ]


def test_costs_add_up():
    rows = cost_rows(COUNTS, EXPECTED, Prices(prompt=2.0, answer=10.0))
    assert [row["cost"] for row in rows] == [
        0.12 + 1.0,
        0.008 + 0.025,
        0.18 + 0.3,
        round(0.308 + 1.325, 6),
    ]
    assert rows[-1]["prompts"] == 1325 and rows[-1]["answer_tokens"] == 132_500


def test_without_a_price_there_is_no_cost():
    rows = cost_rows(COUNTS, EXPECTED, Prices(prompt=2.0, answer=None))
    assert {row["cost"] for row in rows} == {None}
    assert "--price-output" in cost_table(rows, {})
    assert cost_rows([], EXPECTED, Prices(0.0, 0.0))[-1]["cost"] == 0.0


def test_names_cost_by_their_number_and_beside_a_text_too():
    counts = [
        PromptCount("links", "item", "individual", 1000, 80_000, names=10_000, most_names=10),
        PromptCount("both", "item", "individual", 10, 1_000, texts=10, names=100, most_names=10),
        PromptCount("links", "item", "collective", 3, 900, names=1_200, most_names=500),
    ]
    rows = cost_rows(counts, EXPECTED, Prices(prompt=2.0, answer=10.0))
    assert [row["answer_tokens"] for row in rows] == [70_000, 1_700, 8_400, 80_100]
    assert rows[-1]["cost"] == round((81_900 * 2 + 80_100 * 10) / 1e6, 6)
    assert [count.longest_answer(EXPECTED) for count in counts] == [70, 170, 3500]


def test_the_saving_compares_calls_about_the_same_entity():
    saving = collective_saving(COUNTS)
    assert saving["item"]["individual_per_collective"] == 40.0
    assert saving["user"] == {
        "individual": 300,
        "collective": 0,
        "individual_per_collective": None,
    }


def test_the_table_is_aligned_and_says_what_collective_extraction_saves():
    rows = cost_rows(COUNTS, EXPECTED, Prices(2.0, 10.0))
    lines = cost_table(rows, collective_saving(COUNTS)).splitlines()
    assert len({len(line) for line in lines[:5]}) == 1
    assert "1.6330" in lines[4]
    assert lines[5] == "item: 25 collective calls instead of 1,000 individual ones, 40.0x fewer"
    assert len(lines) == 6
