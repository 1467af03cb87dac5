from __future__ import annotations

import json

from preprocessing.__main__ import main


def validate(capsys, *arguments: object) -> tuple[int, dict, str]:
    code = main(["validate", "--json", *map(str, arguments)])
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return code, json.loads(captured.out) if captured.out else {}, captured.err


def checks(result: dict) -> set[str]:
    assert sum(result["by_check"].values()) == result["errors"] + result["warnings"]
    return set(result["by_check"])
