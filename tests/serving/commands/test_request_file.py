from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from configs.command_line import CommandError
from serving.commands.server_options import read_request

GOOD = {"user_id": "42", "candidates": ["50"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ("{'user_id': 1}", "not valid JSON"),
        ("[1]", "must be a JSON object"),
        ('{"candidates": ["1"]}', "'user_id' is missing"),
    ],
)
def test_errors_name_the_file(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "user.json"
    path.write_text(text)
    with pytest.raises(CommandError, match=f"user.json: .*{reason}"):
        read_request(str(path), positive_rating=4.0)


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "user.json"
    path.write_bytes(b'{"user_id": "\xff"}')
    with pytest.raises(CommandError, match="user.json: not valid JSON"):
        read_request(str(path), positive_rating=4.0)


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for body, works in ((json.dumps(GOOD), True), ("{", False)):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(body.encode())))
        if works:
            assert read_request("-", positive_rating=4.0)[0].user_id == "42"
        else:
            with pytest.raises(CommandError, match="standard input: not valid JSON"):
                read_request("-", positive_rating=4.0)
