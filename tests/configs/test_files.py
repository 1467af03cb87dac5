from __future__ import annotations

import subprocess
import sys
from html import unescape
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from configs import files
from configs.command_line import CommandError
from configs.documents import render
from configs.files import alone_in, file_sha256
from configs.text_table import aligned, display_width

EVIL = "<script>&\"'"


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_values_in_html_are_escaped_in_texts_attributes_and_macros(tmp_path: Path) -> None:
    text = (
        "{% macro item(value) %}<li>{{ value }}</li>{% endmacro %}"
        '<p class="{{ one }}">{{ one }}</p>{% for value in all %}{{ item(value) }}{% endfor %}'
    )
    html = render(written(tmp_path, "page.html.jinja", text), {"one": EVIL, "all": [EVIL]})
    assert EVIL not in html and "<script" not in html and '&"' not in html
    assert unescape(html) == f'<p class="{EVIL}">{EVIL}</p><li>{EVIL}</li>'


def test_markdown_is_as_it_is_but_for_cells(tmp_path: Path) -> None:
    template = written(tmp_path, "card.md.jinja", "{{ text }}\n| {{ text | cell }} |\n")
    assert render(template, {"text": "a|b <i>\n c"}) == "a|b <i>\n c\n| a\\|b <i> c |\n"


def test_lines_of_a_block_alone_leave_nothing_behind(tmp_path: Path) -> None:
    template = written(
        tmp_path,
        "a.md.jinja",
        "{% for n in some %}\n  {% if n %}\n{{ n | twice }}\n  {% endif %}\n{% endfor %}\n",
    )
    assert render(template, {"some": [0, 1, 2]}, {"twice": lambda n: 2 * n}) == "2\n4\n"


def test_a_value_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UndefinedError, match="'missing' is undefined"):
        render(written(tmp_path, "a.md.jinja", "{{ missing }}"), {})


def test_checksums_of_known_texts(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"")
    assert file_sha256(file) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    file.write_bytes(b"abc")
    assert file_sha256(file) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_file_may_be_longer_than_what_is_read_at_once(tmp_path: Path) -> None:
    million = tmp_path / "million"
    million.write_bytes(b"a" * 1_000_000 + b"b" * (files._READ_BYTES))
    short = tmp_path / "short"
    short.write_bytes(b"a" * 1_000_000)
    assert file_sha256(million) != file_sha256(short)
    # The third example of FIPS 180-2.
    assert file_sha256(short) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


HOLDER = """
import sys, pathlib
from configs.files import alone_in
with alone_in(pathlib.Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_is_killed(
    tmp_path: Path, repository_root: Path
) -> None:
    folder = tmp_path / "deep" / "study"
    command = [sys.executable, "-c", HOLDER, str(folder)]
    with subprocess.Popen(
        command, cwd=repository_root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with (
            pytest.raises(CommandError, match=f"another process is at work in {folder}"),
            alone_in(folder),
        ):
            pass
        holder.kill()
        holder.wait()
    with alone_in(folder):
        assert folder.is_dir()


def test_the_folder_is_free_again_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="disk full"), alone_in(tmp_path):
        raise OSError("disk full")
    with alone_in(tmp_path):
        pass


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
    assert list(aligned(["rank", "score", "item", "title", "z"], rows, numbers=range(2))) == [
        "rank   score  item  title             z",
        "   1  0.5000  318   千と千尋の神隠し  x",
        "  10  0.2500  映画  Up                y",
    ]


def test_titles_cannot_move_the_cursor() -> None:
    assert list(aligned(["title"], [["a\x1b[2Jb\nc"]])) == ["title", "a\ufffd[2Jb\ufffdc"]
