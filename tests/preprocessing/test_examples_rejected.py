from __future__ import annotations

import gzip
import json

import pytest

from configs.command_line import CommandError, RejectedInput
from configs.loading import ConfigurationError
from preprocessing.examples import build_examples
from preprocessing.records.item_tables import read_item_attributes
from preprocessing.records.layout import WorkDirectory
from tests.preprocessing.small_data import user_answer, user_source


def test_bad_rows_become_dead_letters_with_line_and_reason(small_scenario, small_folder):
    (small_folder / "interactions.csv").write_bytes(
        b"user_id,item_id,rating,timestamp\r\n"
        b"u,1,4,1\r\n"
        b",1,4,1\n"
        b"u, ,4,1\n"
        b"\n"
        b"u,2,good,1\n"
        b"u,2,NaN,1\n"
        b"u,2,1e999,1\n"
        b"u,2,4,noon\n"
        b"u,2,4,1:5\n"
        b"u,2,4\n"
        b"u,2,4,5,6\n"
        b'u,"2,4,5\n'
        b"u,\xff,4,5\n"
        b"u,1,4,1\n"
        b'"u","7",4,2'
    )
    scenario = small_scenario()
    result = build_examples(scenario)
    letters = [
        json.loads(line)
        for line in WorkDirectory(scenario.work_dir).examples.dead_letters.read_text().splitlines()
    ]
    assert [(letter["line"], letter["reason"]) for letter in letters] == [
        (3, "missing_user_id"),
        (4, "missing_item_id"),
        (6, "unparsable_rating"),
        (7, "non_finite_rating"),
        (8, "non_finite_rating"),
        (9, "unparsable_timestamp"),
        (10, "unparsable_timestamp"),
        (11, "wrong_column_count"),
        (12, "wrong_column_count"),
        (13, "malformed_quotes"),
        (14, "invalid_utf8"),
        (15, "duplicate_interaction"),
    ]
    assert letters[2]["detail"] == "column 'rating': 'good'"
    assert letters[-1]["detail"] == "same user, item and time as line 2"
    assert {letter["file"] for letter in letters} == {scenario.data.interactions.path}
    assert result["records_in"] == 14
    assert result["records_out"] == 2
    assert result["dead_letters"] == 12
    assert sum(result["rejected_by_reason"].values()) == 12


def test_bad_catalogue_rows_become_dead_letters(small_scenario, small_folder):
    with (small_folder / "catalogue.csv").open("a", encoding="utf-8") as file:
        file.write("9,Nine again,Drama,2000\n,No id,Drama,2000\n12,Short\n")
    scenario = small_scenario()
    result = build_examples(scenario)
    assert result["catalogue"]["records_in"] == 8
    assert result["catalogue"]["records_out"] == 5
    assert result["catalogue"]["rejected_by_reason"] == {
        "duplicate_item": 1,
        "missing_item_id": 1,
        "wrong_column_count": 1,
    }
    items = read_item_attributes(WorkDirectory(scenario.work_dir).examples.item_attributes)
    assert items.titles[items.item_ids.index("9")] == "Nine, the film"
    with pytest.raises(RejectedInput) as raised:
        build_examples(scenario, strict=True)
    assert raised.value.result["catalogue"]["dead_letters"] == 3


@pytest.mark.parametrize("minimum", [1, 2])
def test_one_file_may_be_all_three_tables(small_scenario, small_folder, minimum):
    path = str(small_folder / "log.csv")
    (small_folder / "log.csv").write_text(
        "user_id,item_id,rating,timestamp,title,job\n"
        "u,1,4,1,One,cook\n"
        "u,2,5,2,Two,cook\n"
        "v,1,bad,3,One,spy\n"
        "v,,4,4,None,spy\n"
        ",2,4,5,Two,spy\n"
        "u,1,4,1,One,cook\n"
    )
    scenario = small_scenario(
        data__interactions__path=path,
        data__catalogue={"path": path},
        data__profiles={"path": path, "attributes": {"job": {"kind": "categorical"}}},
        data__filter={"minimum_user_interactions": minimum},
    )
    result = build_examples(scenario)
    assert result["rejected_by_reason"] == {
        "duplicate_interaction": 1,
        "missing_item_id": 1,
        "missing_user_id": 1,
        "unparsable_rating": 1,
    }
    assert result["catalogue"]["rejected_by_reason"] == {"duplicate_item": 3, "missing_item_id": 1}
    assert result["profiles"]["rejected_by_reason"] == {"duplicate_user": 3, "missing_user_id": 1}
    tables = [result, result["catalogue"], result["profiles"]]
    assert [table["records_in"] for table in tables] == [6, 6, 6]
    assert [table["records_out"] for table in tables] == [2, 2, 2]
    letters = WorkDirectory(scenario.work_dir).examples.dead_letters.read_text().splitlines()
    assert len(letters) == 12


@pytest.mark.parametrize(
    ("minimum", "rows", "message"),
    [
        (1, [], "no sample is left: of 0 interactions"),
        (
            9,
            ["u,1,4,1", "u,2,4,2", "u,3,x,3"],
            "of 3 interactions 2 were filtered .*1 rejected",
        ),
        (1, ["u,1,4,1", "v,2,4,2"], "2 are history only"),
    ],
)
def test_examples_without_any_sample_fail(small_scenario, small_folder, minimum, rows, message):
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    )
    scenario = small_scenario(data__filter={"minimum_user_interactions": minimum})
    with pytest.raises(CommandError, match=message):
        build_examples(scenario)
    assert not WorkDirectory(scenario.work_dir).examples.path.exists()


def test_parts_without_samples_or_with_one_class_are_warned_of(
    small_scenario, small_folder, capsys
):
    # bob has two samples, both train: positions 2 and 3, ratings 4 and 3.
    rows = [f"bob,{item},{rating},{item}" for item, rating in enumerate((5, 1, 4, 3), 7)]
    (small_folder / "interactions.csv").write_text(
        "\n".join(["user_id,item_id,rating,timestamp", *rows]) + "\n"
    )
    result = build_examples(small_scenario())
    assert result["parts"] == {"train": 2, "validation": 0, "test": 0}
    assert result["positives"] == {"train": 1, "validation": 0, "test": 0}
    warned = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert [line.split(";")[0] for line in warned] == [
        "examples: warning: part 'validation' has no samples",
        "examples: warning: part 'test' has no samples",
    ]
    build_examples(small_scenario(data__positive_rating=3.0))
    assert "all 2 samples of part 'train' have label 1" in capsys.readouterr().err
    assert build_examples(small_scenario(data__positive_rating=3.0))["skipped"]
    assert "all 2 samples of part 'train' have label 1" in capsys.readouterr().err


def test_answer_files_that_cannot_be_read_are_named(small_scenario, small_folder):
    source = user_source(small_folder, " stars;")
    key = r"knowledge\.answers\.user\.individual: there is no file '.*users\.jsonl'"
    with pytest.raises(ConfigurationError, match=key):
        build_examples(small_scenario(knowledge__answers__user=source))
    path = small_folder / "users.jsonl.gz"
    lines = "".join(json.dumps(user_answer(f"u{number}", 0, 1)) + "\n" for number in range(99))
    path.write_bytes(gzip.compress(lines.encode())[:-9])
    cut_off = {**source, "individual": [str(path)]}
    with pytest.raises(CommandError, match=r"users\.jsonl\.gz: the file is cut off"):
        build_examples(small_scenario(knowledge__answers__user=cut_off))


def test_wrong_configuration_is_explained(small_scenario, small_folder):
    with pytest.raises(ConfigurationError, match="no column 'stars'.*user_id, item_id, rating"):
        build_examples(small_scenario(data__interactions__columns__rating="stars"))
    with pytest.raises(ConfigurationError, match=r"data\.catalogue\.title: .*no column 'name'"):
        build_examples(small_scenario(data__catalogue__title="name"))
    with pytest.raises(ConfigurationError, match=r"data\.interactions\.path: there is no file"):
        build_examples(small_scenario(data__interactions__path="absent.csv"))
    with pytest.raises(ConfigurationError, match="'rating_sum' is taken"):
        build_examples(
            small_scenario(
                data__catalogue__attributes__rating_sum={"kind": "numeric", "column": "year"}
            )
        )
    with pytest.raises(ConfigurationError, match="not a regular expression"):
        build_examples(
            small_scenario(knowledge__answers__user=user_source(small_folder, "(unclosed"))
        )
