"""`explain`: names as resolved, who names an item, and neighbours against plain NumPy."""

from __future__ import annotations

import json

import numpy as np
import pytest

from configs.loading import ConfigurationError
from preprocessing.__main__ import main
from preprocessing.encode import encode
from preprocessing.inspection.explain import explain
from preprocessing.knowledge.control_vectors import write_shards
from preprocessing.links.step import link
from preprocessing.records.knowledge import read_knowledge
from tests.preprocessing.links.conftest import answer, write_answers

IDS = ["1", "2", "3", "5", "6", "7", "99"]
VECTORS = np.float16([[3, 0], [1, 3], [2, 0], [0, 2], [-1, 1], [1, 0], [1, 1]])
"""Their mean is (1, 1), the vector of item 99."""

MADE = {"entity": "item", "vectors": ["made.npz"]}
USERS = {"entity": "user", "individual": ["users.jsonl"], "links": {}}


@pytest.fixture
def encoded(scenario, folder):
    write_shards(str(folder / "work/knowledge/made"), 2, IDS, lambda rows: VECTORS[rows])
    (folder / "work/knowledge/made/manifest.json").write_text("{}")
    wanted = scenario(**{"knowledge.answers.made": MADE})
    encode(wanted, sources=["links"])
    return wanted


def test_names_as_they_were_resolved(encoded):
    result = explain(encoded, "6")
    assert (result["item"], result["title"]) == ("6", "Notting Hill")
    (actual,) = result["links"].values()
    assert actual["answered"]
    told = [tuple(name[key] for key in ("rank", "name", "how", "item", "title", "node"))
            for name in actual["names"]]  # fmt: skip
    assert told == [
        (1, "Sabrina", "year", "2", "Sabrina", None),
        (2, "Charade (1963)", "outside_node", None, None, "charade"),
        (3, "The Matrix", "exact", "3", "Matrix, The", None),
        (4, "Se7en", "alternative", "4", "Seven (a.k.a. Se7en)", None),
        (5, "!?", "name_without_letters", None, None, None),
    ]
    assert [name["score"] for name in actual["names"]] == [100, None, 100, 100, None]


def test_who_names_it_best_ranks_first_and_no_more_than_asked_for(encoded):
    named_by = explain(encoded, "3")["links"]["links"]["named_by"]
    assert named_by == {
        "items": 2,
        "first": [
            {"rank": 3, "name": "The Matrix", "item": "6", "title": "Notting Hill"},
            {"rank": 3, "name": "The Matrix", "item": "99", "title": None},
        ],
    }
    named_by = explain(encoded, "3", neighbours=1)["links"]["links"]["named_by"]
    assert named_by["items"] == 2 and [row["item"] for row in named_by["first"]] == ["6"]


def test_nearest_items_by_every_source(encoded):
    result = explain(encoded, "2", neighbours=5)
    assert list(result["nearest"]) == ["links", "made"]
    # Less the mean: 2 is (0, 2), the others (2, -1), (1, -1), (-1, 1), (-2, 0), (0, -1), (0, 0).
    assert [tuple(row.values()) for row in result["nearest"]["made"]["items"]] == [
        ("5", "Apartment, The", pytest.approx(0.5**0.5, abs=1e-6), None),
        ("6", "Notting Hill", 0.0, "names_it"),
        ("99", None, 0.0, None),
        ("1", "Sabrina", pytest.approx(-(0.2**0.5), abs=1e-6), "named"),
        ("3", "Matrix, The", pytest.approx(-(0.5**0.5), abs=1e-6), None),
    ]
    records = read_knowledge(encoded.work_dir, "links")
    centred = records.vectors.astype(np.float64) - records.vectors.mean(axis=0, dtype=np.float64)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    row = records.entity_ids.index("2")
    expected = dict(zip(records.entity_ids, unit @ unit[row], strict=True))
    del expected["2"]
    near = result["nearest"]["links"]["items"]
    assert [one["item"] for one in near] == sorted(expected, key=lambda i: -expected[i])[:5]
    for one in near:
        assert one["cosine"] == pytest.approx(expected[one["item"]], abs=1e-5)


def test_both_name_each_other(scenario, folder):
    write_answers(folder / "links.jsonl", [answer("7", ["The Matrix"]), answer("3", ["Zodiac"])])
    wanted = scenario()
    encode(wanted, sources=["links"])
    (near,) = explain(wanted, "3")["nearest"]["links"]["items"]
    assert (near["item"], near["link"]) == ("7", "both")


def test_an_item_without_answer_or_vector_is_explained_all_the_same(encoded, capsys):
    result = explain(encoded, "4")
    actual = result["links"]["links"]
    assert not actual["answered"] and actual["names"] == [] and actual["named_by"]["items"] == 2
    assert result["nearest"]["made"] == {"has_vector": False, "items": []}
    result = explain(encoded, "8")
    assert result["title"] is None and not result["nearest"]["links"]["has_vector"]
    shown = capsys.readouterr().err
    assert "links: no answer about it names anything" in shown
    assert "made: the item has no vector" in shown and "links: 0 items name it" in shown
    result = explain(encoded, "99")  # an answer about what is not in the catalogue
    assert result["links"]["links"]["answered"] and result["title"] is None
    assert {row["cosine"] for row in result["nearest"]["made"]["items"]} == {0.0}


def test_links_that_were_mined_need_no_vectors(scenario, folder):
    prose = answer("3", "Sci-fi with echoes of Notting Hill.", "item")
    write_answers(folder / "prose.jsonl", [prose])
    link(scenario(), mine=["item"])
    wanted = scenario(**{"knowledge.answers.links.links": None})
    for sources in (None, ["item"]):
        result = explain(wanted, "6", sources=sources)
        assert result["links"]["item"]["named_by"]["first"][0]["item"] == "3"
        assert result["nearest"] == {}


def test_the_command_for_people_and_programs(encoded, folder, capsys):
    config = folder / "scenario.yaml"
    config.write_text(json.dumps(encoded.model_dump(mode="json")), encoding="utf-8")
    capsys.readouterr()
    words = ["explain", "--config", str(config)]
    assert main([*words, "--title", "The Matrix (1999)", "--json", "--neighbours", "2"]) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result["item"] == "3" and len(result["nearest"]["made"]["items"]) == 2
    lines = captured.err.splitlines()
    assert lines[0] == "3  Matrix, The"
    assert "   3  6     Notting Hill  The Matrix" in lines
    assert main([*words, "--item", "6"]) == 0
    lines = capsys.readouterr().err.splitlines()[1:]
    assert lines[3].split() == ["1", "Sabrina", "year", "2", "Sabrina"]
    assert lines[4].split() == ["2", "Charade", "(1963)", "outside", "node", "-", "[charade]"]
    for more, message in (
        (["--title", "Sabrina"], "2 items have this title.*1 Sabrina (1954); 2 Sabrina (1995)"),
        (["--title", "Heat"], "--title 'Heat': no item of .*titles.parquet has such a title"),
        (["--item", "0"], "--item 0: there is no such item among the 8 of .*, such as 1, 2, 3"),
        ([], "by --item or by --title"),
    ):
        assert main([*words, *more]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and all(part in error for part in message.split(".*"))


@pytest.mark.parametrize(
    ("options", "sources", "message"),
    [
        ({}, None, r"not linked yet; run 'python -m preprocessing link --source links'"),
        ({}, ["item"], r"not linked yet; run 'python -m preprocessing link --mine item'"),
        ({"knowledge.answers.links.links": None}, None, "no item source .* has links"),
        ({}, ["films"], r"no source 'films' in knowledge.answers \(there: links, item\)"),
        ({"knowledge.answers.users": USERS}, ["users"], "--source users: .* about users"),
        ({"knowledge.answers.made": MADE}, ["made"], "--source made: its answers make no links"),
    ],
)
def test_what_is_not_there_is_said_with_the_fix(scenario, options, sources, message):
    with pytest.raises(ConfigurationError, match=message):
        explain(scenario(**options), "6", sources=sources)


def test_links_that_are_not_encoded_yet(scenario):
    link(scenario())
    with pytest.raises(ConfigurationError, match="preprocessing encode --source links'"):
        explain(scenario(), "6")
