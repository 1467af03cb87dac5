from __future__ import annotations

import pytest

from configs.text_table import aligned, display_width


@pytest.mark.parametrize(
    ("text", "width"),
    [
        ("", 0),
        ("Alien", 5),
        ("千と千尋の神隠し", 16),
        ("기생충", 6),
        ("ＡＢ", 4),
        ("ｱｲ", 2),
        ("Amélie", 6),
        ("Ame\u0301lie", 6),
        ("Ю", 1),
    ],
)
def test_wide_characters_take_two_places(text: str, width: int) -> None:
    assert display_width(text) == width


def test_columns_are_aligned() -> None:
    rows = [["1", "0.5000", "318", "千と千尋の神隠し", "x"], ["10", "0.2500", "映画", "Up", "y"]]
    assert list(aligned(["rank", "score", "item", "title", "z"], rows, numbers=2)) == [
        "rank   score  item  title             z",
        "   1  0.5000  318   千と千尋の神隠し  x",
        "  10  0.2500  映画  Up                y",
    ]


def test_titles_cannot_move_the_cursor() -> None:
    assert list(aligned(["title"], [["a\x1b[2Jb\nc"]])) == ["title", "a\ufffd[2Jb\ufffdc"]
