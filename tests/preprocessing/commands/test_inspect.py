from __future__ import annotations

import json

import pytest

from preprocessing.__main__ import main


def test_people_read_stderr_and_programs_stdout(capsys, tmp_path):
    path = tmp_path / "genres.txt"
    path.write_text("Drama\nComedy\n")
    assert main(["inspect", str(path)]) == 0
    captured = capsys.readouterr()
    assert captured.out == "" and "values: 2" in captured.err
    assert main(["inspect", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["values"] == 2


@pytest.mark.parametrize("option", ["--records", "--limit"])
def test_numbers_are_checked(capsys, option):
    with pytest.raises(SystemExit) as raised:
        main(["inspect", "x", option, "0"])
    assert raised.value.code == 2 and "number greater than or equal to 1" in capsys.readouterr().err
