from __future__ import annotations

import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tensorflow as tf
from pyarrow import parquet

from configs.command_line import CommandError, RejectedInput
from configs.contract_versions import contract_version
from configs.files import alone_in
from configs.loading import ConfigurationError
from preprocessing.answers.record import Location
from preprocessing.encode import encode
from preprocessing.links.known_links import read_known_links
from preprocessing.links.linking import NamesOfAnswers
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.knowledge import read_knowledge
from serving.export import export_run
from serving.export_manifest import (
    FORMAT_VERSION,
    MANIFEST,
    verify_manifest,
)
from serving.id_index import id_hashes
from serving.model_card.card import CARD_JSON, CARD_MARKDOWN
from serving.options import ExportOptions
from serving.proof.proving import Loader
from serving.proof.result import c_api_loader, session_loader
from serving.proof.servers import server_loader
from serving.refresh.incoming import AnswerFiles
from serving.refresh.refreshing import DEAD_LETTERS, BaseVersion, RefreshRequest, refresh
from serving.refresh.version import IdLookup, RefreshFolder, StoredVariables
from tests.runs import WrittenRun, write_run
from tests.scenarios import copied_scenario, rich_scenario
from tests.serving.exports import exports_folder, profile_rows, tensors, variant_run
from tests.serving.refresh.refreshable import (
    CHANGED_ITEM,
    GROUP,
    GROUPED_ITEM,
    NEW_ANSWERS,
    NEW_ITEM,
    NEW_USER,
    UNKNOWN_ITEM,
    answer,
    export_refreshable,
    oracle_model,
    records_with,
    refreshed,
    stored_by_name,
    write_answers,
)


@functools.cache
def original() -> tuple[WrittenRun, Path]:
    """A run with adapter, match and prior, and its base path."""
    scenario = rich_scenario(
        run_dir=str(Path(rich_scenario().work_dir) / "runs" / "refreshable"),
        model__match="ridge",
        model__knowledge_match={"dimension": 6, "sources": ["item", "likes"]},
        model__prior=True,
        model__history_knowledge=True,
    )
    run = write_run(scenario)
    base = exports_folder() / "refreshable"
    export_refreshable(run, base, signatures=True)
    return run, base


@functools.cache
def refreshed_base() -> tuple[Path, dict[str, Any]]:
    """A base path whose version 2 has `NEW_ANSWERS`, and what the refresh said."""
    base = exports_folder() / "refreshed"
    shutil.copytree(original()[1], base)
    return base, refreshed(base)


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A base path of one's own."""
    return Path(shutil.copytree(original()[1], tmp_path / "base"))


def requests() -> dict[str, np.ndarray]:
    """Rows with every kind of changed item and user among candidates and histories."""
    rows = {name: values.copy() for name, values in profile_rows().items()}
    items = [CHANGED_ITEM, GROUPED_ITEM, UNKNOWN_ITEM, NEW_ITEM, "5", "901"]
    rows["item_id"] = np.array([item.encode() for item in items * 2], object)
    users = [b"u1", NEW_USER.encode(), b"u2", b"stranger"]
    rows["user_id"] = np.array(users * 3, object)
    rows["history_item_id"][:4, 0] = NEW_ITEM.encode()
    rows["history_rating"][:4, 0] = 4.0
    return rows


def scores(folder: Path) -> np.ndarray:
    loaded = tf.saved_model.load(str(folder))
    return loaded.signatures["serving_default"](**tensors(requests()))["score"].numpy()


@functools.cache
def refreshed_scores() -> np.ndarray:
    return scores(refreshed_base()[0] / "2")


def test_scores_are_those_of_a_model_that_had_the_answers_from_the_start() -> None:
    run, base = original()
    oracle = oracle_model(run, records_with(run.scenario, NEW_ANSWERS))
    expected = oracle.probabilities(tensors(requests())).numpy()
    actual = refreshed_scores()
    is_changed = np.arange(12) % 6 < 4
    assert np.abs(actual - scores(base / "1"))[is_changed].min() > 1e-4
    np.testing.assert_allclose(actual, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("load", [session_loader, c_api_loader, server_loader])
def test_every_loader_reads_the_new_version(load: Loader) -> None:
    expected = refreshed_scores()
    with load(refreshed_base()[0] / "2") as ways:
        for way, ask in ways.items():
            actual = ask("serving_default", requests())["score"]
            np.testing.assert_allclose(actual, expected, atol=1e-6, rtol=0, err_msg=way)


def test_the_fingerprint_is_that_of_the_new_checkpoint() -> None:
    base, _ = refreshed_base()
    old, new = (tf.saved_model.experimental.read_fingerprint(str(base / each)) for each in "12")
    assert old.graph_def_program_hash == new.graph_def_program_hash
    for folder, actual in ((base / "1", old), (base / "2", new)):
        index = (folder / "variables" / "variables.index").read_bytes()
        hashed = tf.strings.to_hash_bucket_fast([index], 2**63 - 1).numpy()[0]
        assert actual.checkpoint_hash % (2**63 - 1) == hashed


def test_every_untouched_row_and_the_graph_are_the_same_bit_for_bit() -> None:
    base, _ = refreshed_base()
    assert len({(base / each / "saved_model.pb").read_bytes() for each in "12"}) == 1
    old, new = (tf.train.load_checkpoint(str(base / each / "variables/variables")) for each in "12")
    assert new.get_variable_to_dtype_map() == old.get_variable_to_dtype_map()
    tables = [stored_by_name(base / each) for each in "12"]
    changed = {
        name: [row for row in range(len(before)) if not same(before[row], tables[1][name][row])]
        for name, before in tables[0].items()
        if "/index/" not in name
    }
    # Film 1 has row 1 and "45" row 45 of the catalogue; of the answers, those of film 1 and of the
    # group changed in place. The prior of every member of the group is another one.
    assert changed["items/mean_rating"] == changed["items/embedding_row"] == []
    assert len(changed["knowledge/item/augmented/values"]) == 2
    assert len(changed["knowledge/user/augmented/values"]) == 1
    assert len(changed["items/knowledge_row/item"]) == 2
    members = records_with(original()[0].scenario, [])["item"].group_ids.count(GROUP)
    assert len(changed["items/prior/item"]) == members + 3
    assert changed["knowledge/likes/match/table"] == []


def same(before: np.ndarray, after: np.ndarray) -> bool:
    before, after = np.asarray(before), np.asarray(after)
    if before.dtype == object:
        return np.array_equal(before, after)
    return before.shape == after.shape and before.tobytes() == after.tobytes()


def test_an_answer_about_somebody_who_is_forgotten_is_rejected(base: Path, tmp_path: Path) -> None:
    forget = {"item": [CHANGED_ITEM, NEW_ITEM], "user": [NEW_USER]}
    result = refreshed(base, forget=forget)
    assert result["answers"]["rejected_by_reason"]["forgotten"] == 3
    for entity, ids in (("items", forget["item"]), ("users", forget["user"])):
        lookup = IdLookup.of_version(StoredVariables(base / "2"), entity)
        assert lookup.rows(ids).tolist() == [0] * len(ids)
    again = refreshed(base, version=2)
    assert again["answers"] == result["answers"]
    notes = json.loads((base / "2/assets.extra/refresh/forgotten.json").read_text())
    assert (len(notes["items"]), len(notes["users"])) == (2, 1)
    assert not {CHANGED_ITEM, NEW_ITEM, NEW_USER} & {*notes["items"], *notes["users"]}
    other = Path(shutil.copytree(original()[1], tmp_path / "other"))
    refresh(RefreshRequest(other, forget={"item": [CHANGED_ITEM]}))
    row = IdLookup.of_version(StoredVariables(base / "1"), "items").rows([CHANGED_ITEM])
    both, only = (stored_by_name(folder / "2") for folder in (base, other))
    for name in both:
        if name.startswith("items/") and "/index/" not in name:
            assert same(both[name][row], only[name][row]), name


def test_ids_to_forget_that_nobody_has_are_told(base: Path, capsys) -> None:
    result = refresh(RefreshRequest(base, forget={"user": ["u1", "nobody"], "item": ["no film"]}))
    assert result["unknown_to_forget"] == 2
    assert "warning: 2 of the ids to forget are unknown to the model" in capsys.readouterr().err
    result = refresh(RefreshRequest(base, forget={"user": ["nobody at all"]}))
    assert result["written"] and result["unknown_to_forget"] == 1
    told = capsys.readouterr().err
    assert "nothing changed" not in told and "version 3" in told


def test_a_version_that_is_read_only_is_gone_on_from(base: Path) -> None:
    for path in (base / "1").rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    result = refresh(RefreshRequest(base, forget={"user": ["u1"]}))
    assert result["version"] == 2
    for path in (base / "2", *(base / "2").rglob("*")):
        assert path.stat().st_mode & 0o600 == 0o600, path


def test_an_older_version_does_not_bring_back_who_was_forgotten(base: Path) -> None:
    forget = {"item": [CHANGED_ITEM], "user": ["u1"]}
    refresh(RefreshRequest(base, forget=forget))
    known = r"--version 1: version 2 has forgotten 1 users and 1 items that may be known again"
    with pytest.raises(CommandError, match=known):
        refreshed(base, version=1)
    with pytest.raises(CommandError, match="version 2 has forgotten 0 users and 1 items"):
        refresh(RefreshRequest(base, forget={"user": ["u1"]}, version=1))
    again = refresh(RefreshRequest(base, forget={**forget, "user": ["u1", "u2"]}, version=1))
    assert again["version"] == 3 and again["forgotten"] == {"items": 1, "users": 2}
    # What goes on from there knows of all of them, and from version 2 what it does not know itself.
    result = refreshed(base)
    assert result["version"] == 4 and result["answers"]["rejected_by_reason"]["forgotten"] == 2
    with pytest.raises(CommandError, match="version 3 has forgotten 1 users and 0 items"):
        refreshed(base, version=2)
    assert refreshed(base, version=2, forget={"user": ["u2"]})["version"] == 5


def test_who_was_forgotten_stays_so_through_an_export_between_refreshes(base: Path) -> None:
    refresh(RefreshRequest(base, forget={"user": [NEW_USER]}))
    export_run(original()[0].folder.path, base, ExportOptions(proof="none", card_part="none"))
    carried = Forgotten.of(RefreshFolder(base / "3").path)
    assert carried == Forgotten.of(RefreshFolder(base / "2").path)
    # The version of another work directory has a salt of its own.
    Forgotten().with_ids([], [NEW_ITEM]).write(RefreshFolder(base / "2").path)
    result = refreshed(base)
    assert result["version"] == 4 and result["answers"]["rejected_by_reason"]["forgotten"] == 2
    assert (result["new_users"], result["new_items"]) == (0, 0)
    shutil.rmtree(base / "2")
    forgotten = Forgotten.of(RefreshFolder(base / "4").path)
    assert forgotten.has("user", NEW_USER) and forgotten.has("item", NEW_ITEM)
    assert refreshed(base)["answers"]["rejected_by_reason"]["forgotten"] == 2


def test_a_forgotten_member_of_a_group_with_a_new_answer_leaves_no_row(base: Path) -> None:
    answers = [answer("item", GROUP, "About silence and grief.", "collective")]
    result = refreshed(base, answers, forget={"item": [GROUPED_ITEM]})
    assert result["forgotten"] == {"items": 1, "users": 0} and result["changed_rows"] == 1
    (row,) = IdLookup.of_version(StoredVariables(base / "1"), "items").rows([GROUPED_ITEM])
    before, after = (stored_by_name(base / each) for each in "12")
    for name in after:
        if name.startswith("items/") and "/index/" not in name:
            assert same(after[name][row], before[name][0]), name


def test_who_is_forgotten_is_unknown_and_leaves_no_row(base: Path) -> None:
    # "45" shares a group's row with others, and film 1 and both users have rows of their own.
    forget = {"item": [CHANGED_ITEM, GROUPED_ITEM, "never seen"], "user": ["u1", "u2"]}
    dry = refresh(RefreshRequest(base, forget=forget, dry_run=True))
    assert dry["forgotten"] == {"items": 2, "users": 2} and not dry["written"]
    result = refresh(RefreshRequest(base, forget=forget))
    assert (result["forgotten"], result["changed_rows"]) == (dry["forgotten"], 0)
    assert result["version"] == 2
    before, after = (result["items"][when] for when in ("before", "after"))
    assert after["missing"] == before["missing"]
    assert sum(after.values()) == sum(before.values()) - 2
    tables = [stored_by_name(base / each) for each in "12"]
    gone: dict[str, set[int]] = {}
    for entity, ids in (("items", forget["item"]), ("users", forget["user"])):
        lookup = IdLookup.of_version(StoredVariables(base / "1"), entity)
        gone[entity] = set(lookup.rows(ids[:2]).tolist())
        keys = [set(table[f"{entity}/index/keys"].tolist()) for table in tables]
        theirs = set(id_hashes(ids[:2]).tolist())
        assert theirs <= keys[0] and not theirs & keys[1] and len(keys[0]) == len(keys[1])
        for name in tables[0]:
            if name.startswith(f"{entity}/") and "/index/" not in name:
                before, after = (table[name] for table in tables)
                for row in range(len(before)):
                    assert same(after[row], before[0 if row in gone[entity] else row]), (name, row)
    owned = {
        "item": "items/knowledge_row",
        "likes": "items/match_row",
        "user": "users/knowledge_row",
    }
    for source, table in owned.items():
        rows, entity = tables[0][f"{table}/{source}"], table.partition("/")[0]
        alone = {row for row in rows.tolist() if {*np.flatnonzero(rows == row)} <= gone[entity]}
        for name in tables[0]:
            if name.startswith((f"knowledge/{source}/augmented/", f"knowledge/{source}/match/t")):
                old, new = (table[name] for table in tables)
                for row in range(len(old)):
                    assert same(new[row], old[0 if row in alone else row]), (name, row)
    expected, actual = scores(base / "1"), scores(base / "2")
    asked, users = (requests()[name].tolist() for name in ("item_id", "user_id"))
    pairs = enumerate(zip(asked, users, strict=True))
    untouched = [row for row, pair in pairs if pair[0] in (b"5", b"901") and pair[1] == b"stranger"]
    assert untouched
    np.testing.assert_array_equal(actual[untouched], expected[untouched])
    # An answer does not bring them back.
    with pytest.raises(CommandError, match="for forgotten: the item was forgotten"):
        refreshed(base, [answer("item", CHANGED_ITEM, "Grief, family and silence.")])


def test_what_is_said_adds_up() -> None:
    base, result = refreshed_base()
    assert (result["path"], result["version"], result["written"]) == (str(base / "2"), 2, True)
    assert result["answers"] == {
        "read": 7,
        "accepted": 7,
        "rejected": 0,
        "rejected_by_reason": {},
        "members_left_out": {},
    }
    # One row for each answer; 41 of 62 items had one of their own, 20 a group's, one none.
    assert result["changed_rows"] == 7
    assert result["items"]["before"] == {"individual": 41, "group": 20, "missing": 1}
    assert result["items"]["after"] == {"individual": 44, "group": 19, "missing": 0}
    assert result["users"]["before"] == {"individual": 36, "group": 0, "missing": 0}
    assert result["users"]["after"] == {"individual": 37, "group": 0, "missing": 0}
    assert (result["new_items"], result["new_users"]) == (1, 1)
    # Films outside any user's history of known films have no collaborative vector.
    before, after = (result["sources"]["likes"][when]["missing"] for when in ("before", "after"))
    assert after == before + 1


def test_the_same_answers_again_make_no_version(base: Path) -> None:
    assert refreshed(base)["version"] == 2
    again = refreshed(base)
    assert (again["version"], again["written"], again["changed_rows"]) == (2, False, 0)
    assert sorted(path.name for path in base.iterdir()) == [".lock", "1", "2"]


def test_a_refreshed_version_is_refreshed_like_an_exported_one(base: Path) -> None:
    first, second = NEW_ANSWERS[:4], NEW_ANSWERS[4:]
    assert refreshed(base, first)["version"] == 2
    assert refreshed(base, second)["version"] == 3
    np.testing.assert_allclose(scores(base / "3"), refreshed_scores(), atol=1e-6, rtol=0)


def test_an_earlier_version_can_be_gone_on_from(base: Path) -> None:
    refreshed(base, NEW_ANSWERS[:1])
    result = refreshed(base, NEW_ANSWERS[1:2], version=1)
    assert result["version"] == 3
    before = read_digests(base / "1")
    assert np.sum(read_digests(base / "3")[: len(before)] != before) == 0


def read_digests(version_folder: Path) -> np.ndarray:
    with np.load(RefreshFolder(version_folder).source("item") / "entities.npz") as arrays:
        return arrays["digests"]


def test_a_dry_run_writes_nothing(base: Path) -> None:
    result = refreshed(base, dry_run=True)
    assert (result["written"], result["changed_rows"]) == (False, 7)
    assert result["items"]["after"]["missing"] == 0
    assert sorted(path.name for path in base.iterdir()) == ["1"]


def test_bad_records_are_dead_letters_and_the_others_count(base: Path) -> None:
    answers = [
        *NEW_ANSWERS[:1],
        answer("item", "g_None", "Nobody belongs to this group of films.", "collective"),
        answer("film", "7", "No source of this name is read by the model."),
        answer("item", "8", "short"),
        answer("item", CHANGED_ITEM, "A second answer about the same film as above."),
        answer("item", "9", "zzyzx qwrty plugh xyzzy frobnicate grault."),
    ]
    with pytest.raises(RejectedInput) as rejected:
        refreshed(base, answers, strict=True)
    result = rejected.value.result
    counts = result["answers"]
    assert (counts["read"], counts["accepted"], counts["rejected"]) == (6, 1, 5)
    assert counts["rejected_by_reason"] == {
        "duplicate_entity": 1,
        "too_short": 1,
        "unknown_group": 1,
        "unknown_source": 1,
        "zero_vector": 1,
    }
    assert result["version"] == 2
    letters = [json.loads(line) for line in (base / DEAD_LETTERS).read_text().splitlines()]
    assert [letter["line"] for letter in letters] == [2, 3, 4, 5, 6]


def test_one_refresh_or_export_at_a_time(base: Path) -> None:
    with alone_in(base):
        with pytest.raises(CommandError, match="another process is at work in"):
            refreshed(base)
        assert refreshed(base, dry_run=True)["changed_rows"] == 7
    assert not (base / "2").exists()
    assert refreshed(base)["version"] == 2


def test_an_entity_counts_once_whatever_it_comes_in(base: Path, tmp_path: Path) -> None:
    table = {
        "entity_id": [CHANGED_ITEM, GROUP],
        "vector": [[1.0, *[0.0] * 11]] * 2,
        "extraction": ["individual", "collective"],
    }
    parquet.write_table(pa.table(table), tmp_path / "vectors.parquet")
    answers_alone = Path(shutil.copytree(base, tmp_path / "answers_alone"))
    refreshed(answers_alone, NEW_ANSWERS[:5])
    answers = AnswerFiles([write_answers(tmp_path / "answers.jsonl", NEW_ANSWERS[:5])])
    vectors = [str(tmp_path / "vectors.parquet")]
    result = refresh(RefreshRequest(base, answers, vectors, source="item"))
    assert result["answers"]["rejected_by_reason"] == {"duplicate_entity": 2}
    np.testing.assert_array_equal(scores(base / "2"), scores(answers_alone / "2"))


def test_an_answer_about_a_group_that_nobody_reads_is_spoken_of(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    members = [
        entity
        for entity, group in zip(*group_members(original()[0].scenario.work_dir), strict=True)
        if group == GROUP
    ]
    own = [
        answer("item", member, f"Horses, dust and duels, number {member} of them, and wit.")
        for member in members
    ]
    assert refreshed(base, own)["unread_groups"] == 0
    capsys.readouterr()
    result = refreshed(base, NEW_ANSWERS[4:5])
    assert (result["answers"]["accepted"], result["changed_rows"]) == (1, 0)
    assert result["unread_groups"] == 1
    assert "1 of the answers change nothing" in capsys.readouterr().err


def group_members(work_dir: str) -> tuple[list[str], list[str]]:
    records = read_knowledge(work_dir, "item")
    return records.entity_ids, records.group_ids


@pytest.mark.parametrize("missing", ["functions", "sources/item/match.npz"])
def test_a_part_that_is_missing_is_not_skipped(missing: str, base: Path) -> None:
    path = RefreshFolder(base / "1").path / missing
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(CommandError, match=rf"{missing}.* (loaded|read) .*export again"):
        refreshed(base)
    assert sorted(entry.name for entry in base.iterdir()) == [".lock", "1"]


def test_only_bad_records_are_an_error(base: Path) -> None:
    with pytest.raises(
        CommandError, match="new_answers.jsonl:1, for unknown_source: 'film'"
    ) as error:
        refreshed(base, [answer("film", "7", "No source of this name is read by the model.")])
    assert error.value.result["answers"]["rejected"] == 1
    assert not (base / "2").exists()


def test_who_is_to_be_forgotten_is_so_beside_bad_records(base: Path) -> None:
    bad = [answer("film", "7", "No source of this name is read by the model.")]
    result = refreshed(base, bad, forget={"user": ["u1"]})
    assert (result["version"], result["forgotten"]["users"]) == (2, 1)
    assert result["answers"]["rejected"] == 1 and (base / DEAD_LETTERS).exists()
    with pytest.raises(RejectedInput):
        refreshed(base, bad, forget={"user": ["u2"]}, strict=True)
    assert Forgotten.of(RefreshFolder(base / "3").path).has("user", "u2")


@pytest.mark.parametrize("entity", ["user", "item"])
def test_an_empty_id_is_nobody_to_forget(entity: str, base: Path) -> None:
    with pytest.raises(ConfigurationError, match=f"--forget-{entity}: an id is empty; name"):
        refresh(RefreshRequest(base, forget={entity: ["7", ""]}))
    assert not (base / "2").exists()


def test_vectors_made_elsewhere_do_what_answers_do(base: Path, tmp_path: Path) -> None:
    run, _ = original()
    records = records_with(run.scenario, NEW_ANSWERS)["item"]
    known = dict(zip(records.entity_ids, records.vectors, strict=True))
    member = next(
        entity
        for entity, group, extraction in zip(
            records.entity_ids, records.group_ids, records.extraction, strict=True
        )
        if group == GROUP and extraction == "collective"
    )
    items = [CHANGED_ITEM, GROUPED_ITEM, UNKNOWN_ITEM, NEW_ITEM]
    path = tmp_path / "vectors.parquet"
    table = {
        "entity_id": [*items, GROUP, "wide"],
        "vector": [known[item].tolist() for item in [*items, member]] + [[1.0] * 13],
        "extraction": [*["individual"] * 4, "collective", ""],
    }
    parquet.write_table(pa.table(table), path)
    users = write_answers(tmp_path / "users.jsonl", NEW_ANSWERS[5:])
    result = refresh(RefreshRequest(base, vectors=[str(path)], source="item"))
    assert result["answers"]["rejected_by_reason"] == {"wrong_width": 1}
    assert refresh(RefreshRequest(base, AnswerFiles([users])))["version"] == 3
    np.testing.assert_array_equal(scores(base / "3"), refreshed_scores())


def test_wrong_wishes_are_refused_with_the_fix(base: Path, tmp_path: Path) -> None:
    answers = AnswerFiles([write_answers(tmp_path / "a.jsonl", NEW_ANSWERS)])
    vectors = str(tmp_path / "none.parquet")
    wrong = [
        (RefreshRequest(tmp_path / "nothing", answers), "no file or folder '.*/nothing'"),
        (RefreshRequest(base, answers, version=7), "--version 7: .* holds the versions 1"),
        (RefreshRequest(base, answers, source="film"), "no source 'film' .it reads: item, likes"),
        (RefreshRequest(base, answers, source="likes"), "'likes' are collaborative.*train again"),
        (RefreshRequest(base, vectors=[vectors]), "--source: files of vectors do not say"),
        (RefreshRequest(base, vectors=[vectors], source="item"), "--vectors: there is no file"),
    ]
    for request, message in wrong:
        with pytest.raises(ConfigurationError, match=message):
            refresh(request)


@pytest.mark.parametrize("dry_run", [True, False])
def test_rejected_records_do_not_replace_what_is_read(
    dry_run: bool, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_answers(tmp_path / "a.jsonl", [answer("film", "7", "Of no source at all.")])
    before = Path(file).read_bytes()
    answers, vectors = AnswerFiles([file]), [file]
    (tmp_path / "same.jsonl").symlink_to(file)
    monkeypatch.chdir(tmp_path)
    wrong = [
        (RefreshRequest(base, answers), Path("a.jsonl"), "a.jsonl: is a file of --answers"),
        (RefreshRequest(base, answers), Path("same.jsonl"), "is a file of --answers.*another"),
        (RefreshRequest(base, vectors=vectors), Path(file), "is a file of --vectors"),
        (RefreshRequest(base, answers), tmp_path, "--dead-letters .* is a folder; name a file"),
    ]
    for request, path, message in wrong:
        with pytest.raises(ConfigurationError, match=message):
            refresh(replace(request, dead_letters=path, dry_run=dry_run))
    assert Path(file).read_bytes() == before
    Path(file).rename(base / DEAD_LETTERS)
    read_again = AnswerFiles([str(base / DEAD_LETTERS)])
    refusal = CommandError if dry_run else ConfigurationError
    with pytest.raises(refusal, match="all 1 records" if dry_run else "is a file of"):
        refresh(RefreshRequest(base, read_again, dry_run=dry_run))


def test_a_version_without_what_a_refresh_needs_says_so(base: Path) -> None:
    RefreshFolder(base / "1").description.unlink()
    with pytest.raises(CommandError, match=r"refresh\.json is missing.*serving export"):
        refreshed(base)


def test_a_missing_encoder_says_so(base: Path) -> None:
    shutil.rmtree(RefreshFolder(base / "1").encoder("item"))
    with pytest.raises(CommandError, match="encoder 'tfidf' of source 'item'.*--vectors"):
        refreshed(base)


def test_ids_that_requests_could_not_write_are_rejected(tmp_path: Path) -> None:
    run = variant_run("replace_id")
    export_refreshable(run, tmp_path / "base")
    folder = RefreshFolder(tmp_path / "base" / "1")
    text = folder.description.read_text(encoding="utf-8")
    folder.description.write_text(text.replace('"id_type": "string"', '"id_type": "int64"'))
    answers = [answer("item", "907", NEW_ANSWERS[0]["answer"]), NEW_ANSWERS[3]]
    result = refreshed(tmp_path / "base", answers)
    assert result["answers"]["rejected_by_reason"] == {"invalid_entity_id": 1}
    assert result["new_items"] == 1


def test_the_work_directory_is_not_needed(base: Path) -> None:
    scenario = original()[0].scenario
    assert read_knowledge(scenario.work_dir, "item").entity_ids
    for path in (base / "1").rglob("*"):
        if path.is_file():
            assert scenario.work_dir.encode() not in path.read_bytes(), path


_REPORT = {
    "items": {
        "before": {"individual": 1, "group": 2, "missing": 3},
        "after": {"individual": 2, "group": 2, "missing": 2},
    },
    "users": {
        "before": {"individual": 0, "group": 0, "missing": 0},
        "after": {"individual": 0, "group": 0, "missing": 0},
    },
    "changed_rows": 1,
    "new_items": 0,
    "new_users": 0,
    "forgotten": {"items": 0, "users": 0},
}


@pytest.fixture
def version_base(tmp_path: Path) -> Path:
    """Versions 2 and 10, of which the second has manifest and card."""
    for number in (2, 10):
        folder = tmp_path / str(number)
        (folder / "assets.extra").mkdir(parents=True)
        (folder / "variables").mkdir()
        (folder / "saved_model.pb").write_bytes(b"graph")
        (folder / "variables" / "variables.index").write_bytes(b"old")
    (tmp_path / ".11.unfinished").mkdir()
    (folder / CARD_MARKDOWN).write_text("# Model card\n", encoding="utf-8")
    (folder / CARD_JSON).write_text('{"name": "films"}\n', encoding="utf-8")
    manifest = {
        "format_version": FORMAT_VERSION,
        "proof": {"passed": True},
        "variables": {"a": {"shape": [3, 2], "dtype": "float32"}},
        "files": {"saved_model.pb": {"bytes": 5, "sha256": _SHA256_OF_GRAPH}},
    }
    (folder / MANIFEST).write_text(json.dumps(manifest), encoding="utf-8")
    return tmp_path


# sha256sum of the word "graph"
_SHA256_OF_GRAPH = "eef93e1d14482804277fca0172464032d1a4fdbcc338524059fa1e861454ad4d"


def write_variables(folder: Path) -> None:
    (folder / "variables").mkdir()
    (folder / "variables" / "variables.index").write_bytes(b"new")


def test_the_next_version_is_a_copy_with_other_variables(version_base: Path) -> None:
    version = BaseVersion.find(version_base)
    assert version.number == 10
    shapes = {"a/.ATTRIBUTES/VARIABLE_VALUE": (4, 2)}
    written = version.write_next(write_variables, _REPORT, shapes)
    path = written.path
    assert (written.number, path) == (11, version_base / "11")
    assert (path / "saved_model.pb").read_bytes() == b"graph"
    assert (path / "variables" / "variables.index").read_bytes() == b"new"
    assert (version_base / "10" / "variables" / "variables.index").read_bytes() == b"old"
    assert sorted(entry.name for entry in version_base.iterdir()) == ["10", "11", "2"]
    manifest = verify_manifest(path)
    assert manifest["proof"] is None
    assert manifest["variables"]["a"]["shape"] == [4, 2]
    assert "variables/variables.index" in manifest["files"]
    (noted,) = manifest["refreshed"]
    assert (noted["from_version"], noted["items"]) == (10, _REPORT["items"])
    assert noted["code_version"] == contract_version("export")
    card = (path / CARD_MARKDOWN).read_text(encoding="utf-8")
    assert card.startswith("# Model card\n\n## Refreshed on 20")
    assert "| items: missing | 3 | 2 |" in card
    assert "users:" not in card
    assert json.loads((path / CARD_JSON).read_text(encoding="utf-8"))["refreshed"] == [noted]


def test_the_card_says_that_the_version_has_hashes_of_the_forgotten(version_base: Path) -> None:
    outdated = "It holds no user ids, neither raw nor hashed."
    facts = {"privacy": ["It is of films.", outdated]}
    (version_base / "10" / CARD_JSON).write_text(json.dumps(facts), encoding="utf-8")

    def write_changes(folder: Path) -> None:
        write_variables(folder)
        RefreshFolder(folder).path.mkdir()
        Forgotten().with_ids(["u1"], []).write(RefreshFolder(folder).path)

    written = BaseVersion.find(version_base).write_next(write_changes, _REPORT, {})
    card = (written.path / CARD_MARKDOWN).read_text(encoding="utf-8")
    said = "forgotten.json has hashes of forgotten ids (users: 1, items: 0)"
    assert said in card
    facts = json.loads((written.path / CARD_JSON).read_text(encoding="utf-8"))
    (first, last) = facts["privacy"]
    assert first == "It is of films." and said in last


def test_what_goes_wrong_leaves_no_version(version_base: Path) -> None:
    def fail(folder: Path) -> None:
        write_variables(folder)
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        BaseVersion.find(version_base).write_next(fail, _REPORT, {})
    assert sorted(entry.name for entry in version_base.iterdir()) == ["10", "2"]


def test_a_changed_file_is_found_before_anything_is_done(version_base: Path) -> None:
    (version_base / "10" / "saved_model.pb").write_bytes(b"other")
    with pytest.raises(CommandError, match=r"saved_model\.pb is not the file that was exported"):
        BaseVersion.find(version_base)
    assert BaseVersion.find(version_base, 2).number == 2


def test_missing_versions_are_named(version_base: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="--version 3: .* holds the versions 2, 10"):
        BaseVersion.find(version_base, 3)
    with pytest.raises(ConfigurationError, match="no file or folder '.*/nowhere'"):
        BaseVersion.find(tmp_path / "nowhere")
    with pytest.raises(ConfigurationError, match="--model .*no version folder"):
        BaseVersion.find(version_base / "10" / "variables")
    with pytest.raises(ConfigurationError, match="this is version 10 of a model; name the model"):
        BaseVersion.find(version_base / "10")


LINK_SETTINGS = {"dimension": 8}


def links_run(folder: Path) -> WrittenRun:
    """A run whose match and adapter read links: every film names the six after it, and others."""
    names = [
        [f"Film {(item + step) % 60 + 1}" for step in range(1, 7)] + [f"Lost film {item % 9}"]
        for item in range(60)
    ]
    answers = [
        answer("links", str(row + 1), json.dumps({"links": each})) for row, each in enumerate(names)
    ]
    scenario = copied_scenario(
        folder,
        knowledge__answers__links={
            "entity": "item",
            "individual": [write_answers(folder / "links.jsonl", answers[:59])],
            "links": LINK_SETTINGS,
        },
        knowledge__sources=["links"],
        model__match="ridge",
        model__knowledge_match={"link_dimension": 6, "sources": ["links"]},
        run_dir=str(folder / "work" / "runs" / "links"),
    )
    encode(scenario, sources=["links"])
    return write_run(scenario)


def test_answers_that_name_items_extend_the_links(tmp_path: Path) -> None:
    run, base = links_run(tmp_path), tmp_path / "base"
    export_refreshable(run, base, signatures=True)
    listed = {
        CHANGED_ITEM: ["Film 30", "Film 31", "Lost film 2"],
        NEW_ITEM: ["Film 3", "Film 7", "film 3", "Nobody knows this"],
        "5": [f"Film {number}" for number in range(6, 12)] + ["Lost film 4"],  # as it was
    }
    texts = {item: json.dumps({"links": names}) for item, names in listed.items()}
    texts |= {
        "6": "People who love this love many other films, too.",
        "hermit": json.dumps({"links": ["Nobody knows this either"]}),
    }
    result = refreshed(base, [answer("links", item, text) for item, text in texts.items()])
    assert result["answers"] == {
        "read": 5,
        "accepted": 3,
        "rejected": 2,
        "rejected_by_reason": {"no_links": 1, "no_list": 1},
        "members_left_out": {},
    }
    assert (result["changed_rows"], result["new_items"], result["written"]) == (2, 1, True)
    assert result["items"]["after"]["individual"] == result["items"]["before"]["individual"] + 1
    link_result = result["links"]["links"]
    assert link_result["names"] == 15 and sum(link_result["linked"].values()) == 10
    assert link_result["dropped"]["repeated_name"] == 1 and link_result["drift"] > 0

    settings = run.scenario.knowledge.answers["links"].links
    known = read_known_links(str(tmp_path / "work" / "knowledge" / "links"), settings)
    names = NamesOfAnswers()
    for line, (item, text) in enumerate(texts.items(), start=1):
        if item != "6":
            names.add(item, Location("new", line), {"links": _list_of(text)}, {"links": 10})
    rows = dict(zip(names.ids, known.extended(names).rows.astype(np.float16), strict=True))
    records = read_knowledge(run.scenario.work_dir, "links")
    vectors = dict(zip(records.entity_ids, records.vectors, strict=True))
    np.testing.assert_array_equal(rows["5"], vectors["5"])
    vectors |= {item: rows[item] for item in (CHANGED_ITEM, NEW_ITEM)}
    oracle = oracle_model(
        run,
        {
            "links": replace(
                records,
                entity_ids=list(vectors),
                vectors=np.stack(list(vectors.values())).astype(np.float32),
                extraction=["individual"] * len(vectors),
                group_ids=[""] * len(vectors),
            )
        },
    )
    wanted = {name: values for name, values in requests().items() if name in oracle_inputs(base)}
    actual = serving_scores(base / "2", wanted)
    np.testing.assert_allclose(actual, oracle.probabilities(tensors(wanted)).numpy(), atol=1e-5)
    assert np.abs(actual - serving_scores(base / "1", wanted)).max() > 1e-4

    # The next refresh goes on from here: what was outside is shared now.
    again = refreshed(base, [answer("links", "60", json.dumps(["Nobody knows this", "Film 9"]))])
    assert again["version"] == 3 and again["links"]["links"]["linked"]["exact"] == 1
    with pytest.raises(ConfigurationError, match="graph of links"):
        refresh(RefreshRequest(base, vectors=["vectors.npz"], source="links"))


def test_an_answer_about_a_group_counts_for_items_without_links(tmp_path: Path) -> None:
    run, base = links_run(tmp_path), tmp_path / "base"
    export_refreshable(run, base)
    lists = {"1": ["Film 40"], "2": ["Film 30"], "3": ["Film 1"], "5": ["Film 2"]}
    members = ["5", "60", NEW_ITEM, "7"]
    group = answer("links", "g1", json.dumps({"links": lists}), "collective")
    own = json.dumps({"links": ["Film 9"]})
    result = refreshed(
        base,
        [
            {**group, "members": members},
            answer("links", NEW_ITEM, own),
            answer("links", "g2", own, "collective"),
        ],
    )
    assert result["answers"] == {
        "read": 3,
        "accepted": 2,
        "rejected": 1,
        "rejected_by_reason": {"missing_field": 1},
        "members_left_out": {
            "duplicate_entity": 1, "has_links": 1, "member_left_out": 1, "unknown_member": 1,
        },
    }  # fmt: skip
    assert (result["changed_rows"], result["new_items"]) == (2, 1)
    letters = Path(result["dead_letters"]).read_text(encoding="utf-8").splitlines()
    assert sorted((letter["line"], letter["reason"]) for letter in map(json.loads, letters)) == [
        (1, "duplicate_entity"), (1, "has_links"), (1, "member_left_out"), (1, "unknown_member"),
        (3, "missing_field"),
    ]  # fmt: skip
    settings = run.scenario.knowledge.answers["links"].links
    links = [
        read_known_links(str(RefreshFolder(base / version).encoder("links")), settings)
        for version in ("1", "2")
    ]
    before, after = (
        {(row["item"], row["linked"]) for row in known.table.to_pylist()} for known in links
    )
    assert after - before == {("60", "30"), (NEW_ITEM, "9")} and before < after


def _list_of(text: str) -> list[object]:
    listed = json.loads(text)
    return listed["links"] if isinstance(listed, dict) else listed


def oracle_inputs(base: Path) -> set[str]:
    loaded = tf.saved_model.load(str(base / "1"))
    return set(loaded.signatures["serving_default"].structured_input_signature[1])


def serving_scores(folder: Path, rows: dict[str, np.ndarray]) -> np.ndarray:
    loaded = tf.saved_model.load(str(folder))
    return loaded.signatures["serving_default"](**tensors(rows))["score"].numpy()
