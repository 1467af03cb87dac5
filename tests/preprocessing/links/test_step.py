from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from configs.command_line import CommandError, RejectedInput
from configs.loading import ConfigurationError
from preprocessing.__main__ import main
from preprocessing.dead_letters import read_dead_letters
from preprocessing.encode import encode
from preprocessing.links.linking import links_schema
from preprocessing.links.step import link
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import answers_settings
from tests.preprocessing.links.conftest import BAD, USERS, answer, write_answers
from tests.preprocessing.links.test_spectral import dense_kernel

LINES = [
    ("5", "Sabrina", 0, "1", None, "year"),
    ("5", "The Apartment", 1, None, None, "self_mention"),
    ("5", "sabrina (1954)", 2, None, None, "repeated_name"),
    ("5", "Charade", 3, None, "charade", "outside_node"),
    ("6", "Sabrina", 0, "2", None, "year"),
    ("6", "Charade (1963)", 1, None, "charade", "outside_node"),
    ("6", "The Matrix", 2, "3", None, "exact"),
    ("6", "Se7en", 3, "4", None, "alternative"),
    ("6", "!?", 4, None, None, "name_without_letters"),
    ("7", "x" * 300, 0, None, None, "name_too_long"),
    ("7", "7", 1, None, None, "name_not_a_text"),
    ("7", "Seven", 2, "4", None, "exact"),
    ("7", "Sabrina", 3, "2", None, "year"),
    ("7", "The Game", 4, None, None, "outside"),
    ("2", "Sabrina", 0, "1", None, "exact"),
    ("8", "Sabrina (1970)", 0, None, None, "outside"),
    ("99", "Sabrina", 0, None, None, "ambiguous"),
    ("99", "Sabrina", 1, None, None, "repeated_name"),
    ("99", "The Matrix", 2, "3", None, "exact"),
]


def rows_of(source: str = "links", entity: str = "item", *more: str) -> list[tuple]:
    table = pq.read_table(Path("work/links") / source / "links.parquet").cast(links_schema(entity))
    columns = (entity, *more, "name", "rank", "linked", "node", "how")
    return [tuple(row[column] for column in columns) for row in table.to_pylist()]


def test_every_name_is_in_the_table_with_what_became_of_it(scenario, capsys):
    result = link(scenario())
    assert rows_of() == LINES
    counts = result["sources"]["links"]["counts"]
    by_how = Counter(line[-1] for line in LINES)
    told = {**counts["linked"], **counts["not_linked"], **counts["dropped"]}
    assert {how: count for how, count in told.items() if count} == by_how
    assert counts["names"] == len(LINES) == sum(told.values())
    assert counts["linked_share"] == round(8 / 13, 4)
    assert counts["outside_nodes"] == 1
    assert counts["answers_read"] == 10 and counts["answers"] == 6
    assert counts["items"] == {
        "catalogue": 8,
        "answered": 5,
        "with_links": 4,
        "linked_to": 4,
        "by_popularity": {
            "0": {"items": 5, "answered": 4, "with_links": 3, "linked_to": 2},
            "1-9": {"items": 1, "answered": 0, "with_links": 0, "linked_to": 1},
            "10-99": {"items": 1, "answered": 0, "with_links": 0, "linked_to": 1},
            "100-999": {"items": 1, "answered": 1, "with_links": 1, "linked_to": 0},
        },
    }
    shown = capsys.readouterr().err
    assert "link links: 8 of 19 names linked (61.5%): 4 exact, 1 alternative, 3 year" in shown
    assert "3 no_list: the answer is no list of names" in shown


def test_answers_without_names_and_dropped_names_are_dead_letters(scenario):
    with pytest.raises(RejectedInput):
        link(scenario(), strict=True)
    letters = list(read_dead_letters("work/links/links/dead_letters.jsonl"))
    answer_letters = [(line, reason) for line, (_, reason) in enumerate(BAD, start=7)]
    name_letters = [
        *((1, reason) for reason in ("repeated_name", "self_mention")),
        (2, "name_without_letters"),
        *((3, reason) for reason in ("name_not_a_text", "name_too_long")),
        (6, "repeated_name"),
    ]
    assert [(letter["line"], letter["reason"]) for letter in letters] == [
        *name_letters,
        *answer_letters,
    ]
    assert all(letter["file"] == "links.jsonl" for letter in letters)
    assert max(len(letter["detail"]) for letter in letters) < 130


def test_a_finished_step_is_skipped_until_something_changes(scenario, folder, capsys):
    plans = link(scenario(), dry_run=True)["sources"]
    assert [plan["would_skip"] for plan in plans] == [False]
    assert set(plans[0]["inputs"]) == {"catalogue.csv", "links.jsonl", "log.csv"}
    assert not (folder / "work").exists()
    assert not link(scenario())["skipped"]
    table = (folder / "work/links/links/links.parquet").read_bytes()
    assert link(scenario())["skipped"] and not link(scenario(), force=True)["skipped"]
    assert (folder / "work/links/links/links.parquet").read_bytes() == table
    capsys.readouterr()
    fewer = scenario(**{"knowledge.answers.links.links.names": 1})
    result = link(fewer)["sources"]["links"]
    assert not result["skipped"] and result["counts"]["dropped"]["surplus_name"] == 13
    told = "13 surplus_name: the list has more names than knowledge.answers.SOURCE.links.names"
    assert told in capsys.readouterr().err


def test_people_can_look_through_what_is_not_plain(scenario):
    link(scenario())
    with Path("work/links/links/review.csv").open(encoding="utf-8", newline="") as file:
        rows = [tuple(row.values()) for row in csv.DictReader(file)]
    assert rows == [
        ("alternative", "Se7en", "4", "Seven (a.k.a. Se7en)", "", "100", "1"),
        ("ambiguous", "Sabrina", "", "", "", "", "1"),
        ("outside", "Sabrina (1970)", "", "", "", "", "1"),
        ("outside", "The Game", "", "", "", "", "1"),
        ("outside_node", "Charade", "", "", "charade", "", "1"),
        ("outside_node", "Charade (1963)", "", "", "charade", "", "1"),
        ("year", "Sabrina", "2", "Sabrina", "", "100", "2"),
        ("year", "Sabrina", "1", "Sabrina", "", "100", "1"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        '["The Matrix"]',
        '{"similar": ["The Matrix"]}',
        '```json\n{"links": ["The Matrix"]}\n```',
        '{"reason": "audience", "links": ["The Matrix"], "not": ["Seven"]}',
    ],
)
def test_a_list_may_be_written_in_several_ways(scenario, folder, text):
    write_answers(folder / "links.jsonl", [answer("6", text)])
    link(scenario())
    assert rows_of() == [("6", "The Matrix", 0, "3", None, "exact")]


def test_numbered_names_are_linked_by_what_follows_the_number(scenario, folder):
    names = ["1. The Matrix (1999)", "2. Zodiac", "3. Heat"]
    write_answers(folder / "links.jsonl", [answer("6", names)])
    link(scenario())
    assert rows_of() == [
        ("6", "The Matrix (1999)", 0, "3", None, "exact"),
        ("6", "Zodiac", 1, "7", None, "exact"),
        ("6", "Heat", 2, None, None, "outside"),
    ]


def test_a_structured_answer_holds_the_names_beside_prose(scenario, folder):
    structured = answer("6", "{}", "film") | {"factors": {"mood": "sly", "peers": ["Seven"]}}
    write_answers(folder / "links.jsonl", [structured, answer("6", ["x"], "item")])
    described = {"entity": "item", "individual": ["links.jsonl"], "factor": "peers", "links": {}}
    result = link(scenario(**{"knowledge.answers.film_peers": described}), sources=["film_peers"])
    assert rows_of("film_peers") == [("6", "Seven", 0, "4", None, "exact")]
    assert result["sources"]["film_peers"]["counts"]["other_sources"] == 1


PROSE = {
    "3": "Sci-fi with echoes of Notting Hill and Zodiac, unlike The Matrix. Zodiac again.",
    "5": "For fans of Sabrina. A seven-year itch; Notting Hill is nearer.",
    "7": "Nothing here names another film.",
}


def test_prose_is_searched_for_titles(scenario, folder):
    write_answers(
        folder / "prose.jsonl", [answer(item, text, "item") for item, text in PROSE.items()]
    )
    mined = [
        ("3", "Notting Hill", 0, "6", None, "mined"),
        ("3", "Zodiac", 1, "7", None, "mined"),
        ("5", "Sabrina", 0, "1", None, "mined"),
        ("5", "Notting Hill", 1, "6", None, "mined"),
    ]
    result = link(scenario(), mine=["item"])
    assert list(result["sources"]) == ["item"] and rows_of("item") == mined
    counts = result["sources"]["item"]["counts"]
    assert counts["linked"]["mined"] == counts["names"] == 4 and counts["answers"] == 3
    both = {"knowledge.answers.links.links.mine": ["item"]}
    link(scenario(**both))
    # The answer about item 5 lists the Sabrina of 1954 already.
    assert rows_of() == [*LINES, *(row for row in mined if row[0] == "3" or row[3] != "1")]


LISTED = [
    ("ann", "liked", "The Matrix", 0, "3", None, "exact"),
    ("ann", "liked", "Se7en", 1, "4", None, "alternative"),
    ("ann", "liked", "Charade", 2, None, "charade", "outside_node"),
    ("ann", "disliked", "matrix", 0, None, None, "repeated_name"),
    ("ann", "disliked", "N/A", 1, None, None, "no_name"),
    ("bob", "liked", "Zodiac", 0, "7", None, "exact"),
    ("bob", "liked", "Sabrina", 1, None, None, "ambiguous"),
    ("bob", "liked", "Heat", 2, None, None, "outside"),
    ("bob", "liked", "Seven", 3, None, None, "surplus_name"),
    ("bob", "disliked", "Notting Hill", 0, "6", None, "exact"),
    ("eve", "disliked", "Charade (1963)", 0, None, "charade", "outside_node"),
    ("eve", "disliked", "I am sorry, I do not know this user", 1, None, None, "no_name"),
]


def test_users_would_love_some_items_and_others_not(scenario, folder, capsys):
    write_answers(folder / "users.jsonl", USERS)
    described = {"entity": "user", "individual": ["users.jsonl"], "links": {"names": 3}}
    result = link(scenario(**{"knowledge.answers.links": described}))["sources"]["links"]
    assert rows_of("links", "user", "list") == LISTED
    counts = result["counts"]
    assert counts["lists"] == {
        "liked": {"names": 7, "linked": 3},
        "disliked": {"names": 5, "linked": 1},
    }
    assert counts["users"] == {"answered": 3, "with_links": 2}
    assert counts["items"]["linked_to"] == 4 and "answered" not in counts["items"]
    assert result["rejected_by_reason"]["users.jsonl"] == {
        "no_list": 1, "no_name": 2, "repeated_name": 1, "surplus_name": 1,
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="makes no knowledge vectors"):
        encode(scenario(**{"knowledge.answers.links": described}), sources=["links"])
    shown = capsys.readouterr().err
    assert "2 of 3 users have links, 4 of 8 items are linked to" in shown
    for changed, message in (
        ({"collective": ["a.jsonl"]}, "'links' of users come from single answers"),
        ({"links": {"mine": ["item"]}}, "'links.mine' is for item sources"),
    ):
        with pytest.raises(ConfigurationError, match=message):
            scenario(**{"knowledge.answers.links": described | changed})


def of_group(group: str, members: list[str], names: object, prompt: str = "") -> dict[str, object]:
    record = answer(group, {"links": names}) | {"extraction": "collective", "members": members}
    return record | ({"prompt": prompt} if prompt else {})


def test_an_answer_about_a_group_names_links_of_each_member(scenario, folder):
    prompt = (
        'Each by itself: 1. "The Matrix (1999)"; 2. "Zodiac"; 3. "Sabrina (1954)". {"links": 1}'
    )
    groups = [
        of_group("g1", ["3", "7", "1", "4"], {"1": ["Seven"], "2. Zodiac": ["Seven", "zodiac"],
                 "sabrina": ["The Apartment"], "9": ["Heat"], "4": []}, prompt),
        of_group("g2", ["6", "2"], {"1": ["The Matrix"], "2": ["Notting Hill"]}),
        of_group("g2", ["6"], {"1": ["Zodiac"]}),
        of_group("g3", ["5"], {"first": ["Zodiac"]}),
        of_group("g4", ["5", "5"], {"1": ["Zodiac"]}),
        answer("g5", {"1": ["Zodiac"]}) | {"extraction": "collective"},
    ]  # fmt: skip
    write_answers(folder / "groups.jsonl", groups)
    write_answers(folder / "links.jsonl", [answer("6", ["Zodiac"])])
    options = {"collective": ["groups.jsonl"], "groups": "groups.csv"}
    described = {"entity": "item", "individual": ["links.jsonl"], "links": {}} | options
    result = link(scenario(**{"knowledge.answers.links": described}))["sources"]["links"]
    assert rows_of() == [
        ("6", "Zodiac", 0, "7", None, "exact"),  # an answer about the item itself comes first
        ("3", "Seven", 0, "4", None, "exact"),
        ("7", "Seven", 0, "4", None, "exact"),
        ("7", "zodiac", 1, None, None, "self_mention"),
        ("1", "The Apartment", 0, "5", None, "exact"),
        ("2", "Notting Hill", 0, "6", None, "exact"),
    ]
    assert result["rejected_by_reason"]["groups.jsonl"] == {
        "duplicate_entity": 2, "member_left_out": 1, "missing_field": 1, "no_list": 1,
        "self_mention": 1, "unknown_member": 1, "wrong_type": 1,
    }  # fmt: skip
    assert result["counts"]["answers_read"] == 7 and result["counts"]["answers"] == 3


def test_a_file_with_answers_about_items_and_groups_is_read_for_both(scenario, folder):
    lines = [
        answer("6", ["Zodiac"]),
        of_group("g2", ["6", "2"], {"1": ["The Matrix"], "2": ["Notting Hill"]}),
    ]
    write_answers(folder / "both.jsonl", lines)
    described = {
        "entity": "item",
        **dict.fromkeys(("individual", "collective"), ["both.jsonl"]),
        **{"groups": "groups.csv", "links": {}},
    }
    result = link(scenario(**{"knowledge.answers.links": described}))["sources"]["links"]
    assert rows_of() == [
        ("6", "Zodiac", 0, "7", None, "exact"),
        ("2", "Notting Hill", 0, "6", None, "exact"),
    ]
    assert result["rejected_by_reason"] == {"both.jsonl": {"duplicate_entity": 1}}
    assert result["counts"]["answers_read"] == 4
    assert result["counts"]["answers"] == result["counts"]["other_sources"] == 2


def test_links_become_vectors(scenario, folder):
    wanted = scenario(**{"knowledge.answers.links.links.dimension": 20})
    plans = encode(wanted, sources=["links"], dry_run=True)["sources"]
    assert [plan["step"] for plan in plans] == ["link links", "encode links"]
    result = encode(wanted, sources=["links"])["sources"]["links"]
    rows = pq.read_table(folder / "work/links/links/links.parquet").to_pylist()
    links = [
        (row["item"], row["linked"] or row["node"], row["rank"])
        for row in rows
        if row["linked"] or row["node"]
    ]
    nodes = sorted({node for link_ in links for node in link_[:2]})
    weights = np.zeros((len(nodes), len(nodes)))
    for item, linked, rank in links:
        weights[nodes.index(item), nodes.index(linked)] += 1 / (1 + 0.05 * rank)
    root = np.sqrt((weights + weights.T).sum(axis=1))
    values = np.linalg.eigvalsh((weights + weights.T) / root / root[:, np.newaxis])
    kernel = dense_kernel(weights + weights.T, dimension=20)
    items = [row for row, node in enumerate(nodes) if node != "charade"]
    records = read_knowledge("work", "links")
    assert records.entity_ids == [nodes[row] for row in items] == ["1", *"234567", "99"]
    made = records.vectors.astype(np.float64) @ records.vectors.T
    scale = made[0, 0] / kernel[items[0], items[0]]
    assert np.log2(scale) / 2 == pytest.approx(round(np.log2(scale) / 2), abs=0.01)
    np.testing.assert_allclose(made, scale * kernel[np.ix_(items, items)], atol=3e-3 * scale)
    assert (result["knowledge_records"], result["entities_without_answer"]) == (8, 1)
    assert result["links"] == {
        "items": 9,
        "outside_nodes": 1,
        "linked_pairs": np.count_nonzero(weights + weights.T) // 2,
        "items_without_links": 1,
        "smallest_eigenvalue": pytest.approx(values[0], abs=1e-5),
        "largest_residual": 0.0,
    }
    again = encode(wanted, sources=["links"])["sources"]["links"]
    assert again["skipped"] and again["links"] == result["links"]
    narrower = scenario(**{"knowledge.answers.links.links.dimension": 3})
    assert encode(narrower, sources=["links"])["sources"]["links"]["dimension"] == 3
    assert link(narrower)["skipped"]
    smoother = scenario(**{"knowledge.answers.links.links.smoothness": 2})
    norms = []
    for each in (scenario(), smoother):
        assert not encode(each, sources=["links"])["sources"]["links"]["skipped"]
        assert link(each)["skipped"]
        norms.append(np.linalg.norm(read_knowledge(Path("work"), "links").vectors, axis=1))
    assert not np.allclose(*norms, rtol=0.01)


def test_work_from_before_an_option_is_as_with_its_default(scenario):
    told = [answers_settings(scenario(**options).knowledge.answers["links"])["links"]
            for options in ({}, {"knowledge.answers.links.links.smoothness": 2})]  # fmt: skip
    assert "smoothness" not in told[0] and "damping" not in told[0]
    assert told[1] == {**told[0], "smoothness": 2.0}


def test_links_that_reach_nothing_are_no_source(scenario, folder):
    write_answers(folder / "links.jsonl", [answer("5", ["Zodiac"]), answer("7", ["Unknown"])])
    encode(scenario(), sources=["links"])
    table = pq.read_table("work/knowledge/links/links.parquet")
    assert table["linked"].to_pylist() == ["7", None]
    write_answers(folder / "links.jsonl", [answer("7", ["Unknown"])])
    with pytest.raises(CommandError, match=r"knowledge\.answers\.links: none of the 1 names"):
        encode(scenario(), sources=["links"])


@pytest.mark.parametrize(
    ("options", "arguments", "message"),
    [
        ({"knowledge.answers.links.links": None}, {}, "no source of knowledge.answers has 'links'"),
        ({}, {"sources": ["item"]}, "has no 'links'.*--mine item"),
        ({}, {"sources": ["films"]}, "there is no source 'films'"),
        ({}, {"mine": ["links"]}, "--mine links: needs an item source"),
        ({"knowledge.answers.links.links.year": "born"}, {}, "no attribute 'born'.*there: year"),
    ],
)
def test_what_cannot_be_linked_is_refused(scenario, options, arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        link(scenario(**options), **arguments)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("links.mine", ["links"], "'links' must be an item source"),
        ("links.mine", ["nobody"], "'nobody' must be an item source"),
        ("individual", [], "name at least one file"),
        ("factors", ["genre"], "exclude 'factors'"),
        ("collective", ["a.jsonl"], "'collective' answers need 'groups'"),
        ("links.until", "last May", "'last May' is no year, month or day"),
        ("links.near", 101, "less than or equal to 100"),
        ("links.names", 0, "greater than or equal to 1"),
    ],
)
def test_options_that_exclude_each_other(scenario, option, value, message):
    with pytest.raises(ConfigurationError, match=message):
        scenario(**{f"knowledge.answers.links.{option}": value})


@pytest.mark.parametrize(
    ("catalogue", "answers", "message"),
    [
        ("item_id,title,year\n1,,1999\n2,?,2000\n", None, "none of the 2 items.*column 'title'"),
        ("item_id,title,year\n1,Casablanca,1942\n", None, "none of the 19 names.*'Casablanca'"),
        (
            None,
            [answer("1", "prose"), answer("2", "")],
            "no usable answer.*blank_answer 1.*no_list",
        ),
        (None, [], "there is no usable answer"),
    ],
)
def test_without_a_link_there_is_an_error_and_no_result(
    scenario, folder, catalogue, answers, message
):
    if catalogue is not None:
        (folder / "catalogue.csv").write_text(catalogue, encoding="utf-8")
    if answers is not None:
        write_answers(folder / "links.jsonl", answers)
    with pytest.raises(CommandError, match=message):
        link(scenario())
    assert not list((folder / "work/links").glob("*/links.parquet"))


def test_answers_with_ids_of_another_list_are_refused(scenario, folder):
    write_answers(folder / "links.jsonl", [answer("x5", ["Zodiac"]), answer("x7", ["Up"])])
    message = "none of the 2 items that answers are about.*'x5', 'x7', the catalogue '1'.*--ids"
    with pytest.raises(CommandError, match=message):
        link(scenario())
    write_answers(folder / "links.jsonl", [answer("x5", ["Zodiac"]), answer("5", ["Up"])])
    assert link(scenario())["sources"]["links"]["counts"]["items"]["answered"] == 1


def test_without_a_log_popularity_is_not_told(scenario, folder, capsys):
    (folder / "log.csv").unlink()
    result = link(scenario())
    assert "by_popularity" not in result["sources"]["links"]["counts"]["items"]
    assert "coverage is not told by popularity" in capsys.readouterr().err


def test_the_command(scenario, folder, capsys):
    config = folder / "scenario.yaml"
    config.write_text(json.dumps(scenario().model_dump(mode="json")), encoding="utf-8")
    assert main(["link", "--config", str(config), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["step"] == "link" and result["sources"]["links"]["counts"]["names"] == 19
    assert main(["link", "--config", str(config), "--strict"]) == 3
    assert "unchanged, skipped (8 links)" in capsys.readouterr().err
    encoding = ["encode", "--config", str(config), "--source", "links"]
    assert main(encoding) == 0
    assert main([*encoding, "--strict"]) == 3
    assert "work/links/links/dead_letters.jsonl" in capsys.readouterr().err


def test_a_title_that_changes_is_encoded_anew_though_no_link_does(scenario, folder):
    titles = [
        folder / "work" / step / "links" / "titles.parquet" for step in ("links", "knowledge")
    ]
    encode(scenario(), sources=["links"])
    links = titles[0].with_name("links.parquet").read_bytes()
    catalogue = folder / "catalogue.csv"
    text = catalogue.read_text(encoding="utf-8")
    assert "Zodiac" in text
    catalogue.write_text(text.replace("Zodiac", "Zodiacs"), encoding="utf-8")
    encode(scenario(), sources=["links"])
    assert titles[0].with_name("links.parquet").read_bytes() == links
    assert "Zodiacs" in pq.read_table(titles[1])["title"].to_pylist()
    assert titles[0].read_bytes() == titles[1].read_bytes()


REAL = [
    ("movielens_small", 90_472, 0.8525, 2_748),
    ("ml-1m", 37_016, 0.774, 1_575),
]


@pytest.mark.parametrize(("data", "names", "share", "nodes"), REAL)
def test_real_answers(scenario, folder, shared_data, data, names, share, nodes):
    if data == "ml-1m":
        rows = (shared_data / data / "movies.dat").read_text(encoding="latin-1").splitlines()
        columns = {"format": "csv", "separator": "::", "header": False, "quoting": False}
        (folder / "movies.dat").write_text("\n".join(rows), encoding="utf-8")
        catalogue = {"path": "movies.dat", "column_names": ["item_id", "title", "genres"]} | columns
    else:
        catalogue = {"path": str(shared_data / data / "movies.csv")}
        catalogue["attributes"] = {"year": {"kind": "numeric"}}
    (folder / "log.csv").unlink()
    file = str(shared_data / data / "answers" / "item_links.jsonl.gz")
    options = {"data.catalogue": catalogue, "knowledge.answers.links.individual": [file]}
    counts = link(scenario(**options))["sources"]["links"]["counts"]
    assert counts["names"] == names and counts["outside_nodes"] == nodes
    assert counts["linked_share"] == pytest.approx(share, abs=5e-4)
