from __future__ import annotations

import json

import yaml

from serving.deploy.documents import json_text, yaml_text


def test_documents_are_read_back() -> None:
    shared = {"b": 2}
    first = {"z": [shared, shared], "a": "two\nlines\n", "n": "007", "on": "yes", "t": "12:30"}
    text = yaml_text("About this.", first, {"k": None})
    assert list(yaml.safe_load_all(text)) == [first, {"k": None}]
    assert list(yaml.safe_load(text.split("---\n")[0])) == ["z", "a", "n", "on", "t"]


def test_the_form_for_people() -> None:
    text = yaml_text("One.\n\nTwo.", {"list": ["a"], "text": "x\ny\n", "same": [{}, {}]})
    assert text == ("# One.\n#\n# Two.\nlist:\n  - a\ntext: |\n  x\n  y\nsame:\n  - {}\n  - {}\n")


def test_long_comments_are_wrapped_and_addresses_stay_whole() -> None:
    address = "dns:///movies-serving-headless:8500"
    text = yaml_text(" ".join([address] * 20), {})
    lines = text.splitlines()
    assert max(map(len, lines)) <= 100
    assert text.count(address) == 20
    assert all(line.startswith("# ") for line in lines[:-1])


def test_json() -> None:
    text = json_text({"unit": "µs", "list": [1]})
    assert json.loads(text) == {"unit": "µs", "list": [1]}
    assert "µs" in text
    assert text.endswith("}\n")
