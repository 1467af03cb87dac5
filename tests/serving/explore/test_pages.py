"""What pages show, against computations of their own."""

from __future__ import annotations

import copy
import json
import re
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tensorflow as tf
from sklearn.metrics import roc_auc_score
from starlette.datastructures import QueryParams
from starlette.testclient import TestClient

from configs.knowledge import SourceAnswers
from configs.scenario import Scenario
from preprocessing.records.contract import EXAMPLE_FEATURES, USER_FOLDS
from preprocessing.records.forgotten import Forgotten
from preprocessing.records.item_tables import FIXED_COLUMNS
from preprocessing.records.knowledge import read_knowledge
from preprocessing.records.layout import WorkDirectory
from preprocessing.records.parsing import example_dataset
from serving.client import UserRequest
from serving.client.inputs import rank_inputs
from serving.explore.app import explorer_app
from serving.explore.parameters import Parameters, address
from serving.explore.rankers import RunRanker
from serving.explore.session import Session
from serving.explore.svg import MAP_SIZE, Bar, MapScale, bars
from serving.explore.work_data import Items, Samples, WorkData
from serving.refresh.incoming import AnswerFiles
from serving.refresh.refreshing import RefreshRequest, refresh
from tests.runs import write_run, written_run
from tests.scenarios import (
    ITEMS,
    ITEMS_WITH_ANSWER,
    ITEMS_WITH_GROUP,
    KNOWLEDGE_ONLY_ITEMS,
    implicit_scenario,
    rich_scenario,
)
from tests.serving.explore.conftest import HTML
from tests.serving.exports import exported, exported_variant
from trainer.run_folder import RunFolder


class Page(HTMLParser):
    """Rows of all tables as texts, and all links."""

    def __init__(self, text: str):
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.text = ""
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th") and self.rows:
            self.rows[-1].append("")
            self._in_cell = True
        if tag == "a":
            self.links += [value or "" for name, value in attrs if name == "href"]

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_cell:
            self.rows[-1][-1] += data

    def body(self) -> list[list[str]]:
        return [[" ".join(cell.split()) for cell in row] for row in self.rows]


def page(browser: TestClient, address: str, status: int = 200) -> Page:
    response = browser.get(address)
    assert response.status_code == status, response.text
    return Page(response.text)


@pytest.fixture(scope="module")
def samples(session: Session) -> dict[str, np.ndarray]:
    """All samples of the part, as the files have them."""
    files = WorkDirectory(session.data.scenario.work_dir).examples.shards("validation")
    (batch,) = example_dataset(files, 4096, EXAMPLE_FEATURES)
    return {name: values.numpy() for name, values in batch.items()}


@pytest.fixture(scope="module")
def models(runs: dict[str, Path]) -> list[Any]:
    return [RunFolder(runs[name]).load_model()[1] for name in ("none", "means", "ridge")]


def first_sample(samples: dict[str, np.ndarray], user: str) -> int:
    rows = np.flatnonzero(samples["user_id"] == user.encode())
    return int(rows[samples["position"][rows].argmin()])


def asked(samples: dict[str, np.ndarray], row: int, items: list[bytes]) -> dict[str, tf.Tensor]:
    """A request with the user's state before a sample."""
    names = ("history_item_id", "history_rating", "user_share_liked", "user_mean_rating")
    shared = {name: samples[name][row : row + 1] for name in ("user_id", *names, "user_log_count")}
    return {**{name: tf.constant(v) for name, v in shared.items()}, "item_id": tf.constant(items)}


def test_ranking_shows_ranks_scores_and_moves_of_all_models(
    browser: TestClient, samples: dict[str, np.ndarray], models: list[Any]
) -> None:
    user = "u3"
    rows = np.flatnonzero(samples["user_id"] == user.encode())
    rows = rows[np.argsort(samples["position"][rows])]
    items = samples["item_id"][rows].tolist()
    raw = asked(samples, first_sample(samples, user), items)
    scores = np.stack([model.probabilities(raw).numpy() for model in models])
    ranks = 1 + (-scores).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    shown = page(browser, f"/ranking?user={user}").body()[1:]
    assert len(shown) == len(items) > 3
    moves = set()
    for place, row in zip(np.argsort(ranks[2]), shown, strict=True):
        rating, liked = samples["rating"][rows[place]], samples["label"][rows[place]]
        assert row[1] == f"{rating:g} {'★' if liked else '·'}"
        expected = []
        for number in range(3):
            move = ranks[0, place] - ranks[number, place]
            moves.add(int(move))
            arrow = "" if move == 0 else f" {'▲' if move > 0 else '▼'}{abs(move)}"
            expected.append(f"{ranks[number, place]}{arrow} {scores[number, place]:.3f}")
        assert row[2:5] == expected
    assert min(moves) < 0 < max(moves)


def test_an_edited_history_ranks_anew(
    browser: TestClient, session: Session, models: list[Any]
) -> None:
    address = (
        "/ranking?edited=1&user=u3&item=2&rating=1&item=5&rating=&item=9&rating=4.5&candidates=all"
    )
    shown = page(browser, f"{address}&add=Film+7&add_rating=5").body()[1:]
    # The form has the newest first, and what is added is the newest; 5 is taken out.
    request = UserRequest.from_history("u3", ["9", "2", "7"], [4.5, 1, 5], 4.0)
    candidates = [item for item in session.data.items.ids if item not in ("9", "2", "7")]
    raw = {
        "user_id": tf.constant(["u3"]),
        "history_item_id": tf.constant([["9", "2", "7"]]),
        "history_rating": tf.constant([[4.5, 1.0, 5.0]]),
        "user_share_liked": tf.constant([2 / 3]),
        "user_mean_rating": tf.constant([3.5]),
        "user_log_count": tf.constant([np.log(4.0)], tf.float32),
        "item_id": tf.constant(candidates),
    }
    scores = models[2].probabilities(raw).numpy()
    best = np.argsort(-scores, kind="stable")[:50]
    assert [row[3].split()[-1] for row in shown] == [f"{scores[place]:.3f}" for place in best]
    np.testing.assert_allclose(session.rank(request, candidates).scores[2], scores, atol=1e-6)


def test_an_unchanged_form_keeps_what_is_known_of_the_user(
    browser: TestClient, session: Session
) -> None:
    state = session.samples.state("u3")
    assert state is not None
    history = zip(state.request.history_item_id, state.request.history_rating or [], strict=True)
    form = "&".join(f"item={item}&rating={rating:g}" for item, rating in reversed(list(history)))
    edited = page(browser, f"/ranking?edited=1&user=u3&{form}")
    assert edited.body() == page(browser, "/ranking?user=u3").body()
    assert "as it was" not in edited.text
    assert "as it was" in page(browser, f"/ranking?edited=1&user=u3&{form}&add=1").text


def test_why_adds_up_to_what_the_model_reads(browser: TestClient, session: Session) -> None:
    state = session.samples.state("u3")
    assert state is not None
    ridge = session.rankers[2]
    assert isinstance(ridge, RunRanker)
    matches = ridge._model.inputs_preparation.matches
    for item in ("1", ITEMS[-1]):
        explained = session.explain(ridge, state.request, item)
        raw = {
            "user_id": tf.constant(["u3"]),
            "history_item_id": tf.constant([state.request.history_item_id]),
            "history_rating": tf.constant([state.request.history_rating]),
            "user_share_liked": tf.constant([0.5]),
            "user_mean_rating": tf.constant([3.0]),
            "user_log_count": tf.constant([1.0]),
            "item_id": tf.constant([item]),
        }
        features = ridge._model.inputs_preparation(raw)["match"].numpy()[0]
        for source, found in explained.items():
            mean = features[matches.feature_names.index(f"{source}/mean")]
            assert (found is None) == np.isnan(mean)
            if found is not None:
                assert sum(one.value for one in found) == pytest.approx(mean, abs=1e-5)
    shown = page(browser, "/ranking?user=u3&why=1").text
    assert "none: the model has no knowledge match" in shown
    assert "means: a match of kind means is not explained" in shown
    mean = sum(one.value for one in session.explain(ridge, state.request, "1")["item"] or ())
    assert f"ridge, item: {mean:+.3f}" in shown


def request_of(browser: TestClient, address: str) -> dict[str, Any]:
    """The body of the page's curl command."""
    (command,) = re.findall(
        r'<pre id="curl"[^>]*>(.*?)</pre>', browser.get(address).text, re.DOTALL
    )
    words = shlex.split(Page(command).text)
    assert words[:2] == ["curl", "--data"] and words[3].endswith("/v1/models/films:predict")
    return json.loads(words[2])


def test_the_curl_command_is_the_request_of_the_page(browser: TestClient, session: Session) -> None:
    body = request_of(browser, "/ranking?user=u3")
    state = session.samples.state("u3")
    assert state is not None and body["signature_name"] == "rank"
    assert body["inputs"]["history_item_id"] == [list(state.request.history_item_id)]
    assert sorted(body["inputs"]["item_id"]) == sorted(state.items)


def test_the_curl_command_has_numbers_where_the_runs_exports_read_them(session: Session) -> None:
    ranker = copy.copy(session.rankers[-1])
    assert ranker.scenario is not None
    serving = ranker.scenario.serving.model_copy(update={"id_type": "int64"})
    ranker.scenario = ranker.scenario.model_copy(update={"serving": serving})
    user = UserRequest.from_history("7", ["3", "5"], [4.0, 2.0])
    body = json.loads(shlex.split(ranker.curl(user, ["1", "2"], "films"))[2])
    ids = {name: values for name, values in body["inputs"].items() if name.endswith("_id")}
    assert ids == {"user_id": [7], "item_id": [1, 2], "history_item_id": [[3, 5]]}
    assert ranker.scores(user, ["1", "2"]).shape == (2,)
    told = ranker.curl(replace(user, user_id="u3"), ["1"], "films")
    assert told.startswith("# input 'user_id'") and "whole numbers" in told


def test_an_item_with_its_answers_links_and_neighbours(
    browser: TestClient, session: Session
) -> None:
    text = browser.get("/item?id=2").text
    shown = Page(text)
    assert "Film 2 offers" in shown.text
    assert ["1", "Film 1", "exact", "Film 1"] in shown.body()
    assert ["2", "Film 99", "outside node", "[film 99]"] in shown.body()
    assert HTML in shown.text and HTML not in text
    assert "What goes with" not in shown.text
    assert "What goes with Film 2?" in page(browser, "/item?id=2&prompt=show").text
    for source in ("item", "links"):
        records = read_knowledge(session.data.scenario.work_dir, source)
        centred = records.vectors.astype(np.float64) - records.vectors.mean(axis=0)
        unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
        cosines = unit @ unit[records.entity_ids.index("2")]
        cosines[records.entity_ids.index("2")] = -2
        best = cosines.argsort()[::-1][:15]
        near = session.data.vectors(source).nearest("2", 15)
        np.testing.assert_allclose([cosine for _, cosine in near], cosines[best], atol=1e-5)
        assert f"{cosines[best[0]]:.3f}" in shown.text
    assert "It has no vector here." in page(browser, f"/item?id={ITEMS[-1]}").text
    assert "lost" in page(browser, f"/item?id={KNOWLEDGE_ONLY_ITEMS[0]}").text


def test_a_refusal_is_shown_as_one(linked_scenario: Scenario, tmp_path: Path) -> None:
    path = tmp_path / "cut.jsonl"
    record = {"source": "cut", "entity_id": "7", "extraction": "individual"}
    refusal = "I'm sorry, but I can't help with that request."
    path.write_text(json.dumps({**record, "answer": refusal}) + "\n", encoding="utf-8")
    described = SourceAnswers(entity="item", individual=(str(path), "nowhere.jsonl"))
    knowledge = linked_scenario.knowledge.model_copy(
        update={"answers": {**linked_scenario.knowledge.answers, "cut": described}}
    )
    data = WorkData(linked_scenario.model_copy(update={"knowledge": knowledge}))
    own, links, cut = data.answers_about("item", "7")
    assert [own["source"], links["source"], cut["source"]] == ["item", "links", "cut"]
    assert own["fault"] is None and links["fault"] is None
    assert cut["text"] == refusal and cut["fault"].startswith("refusal: ")
    assert data.answers("cut").missing == ["nowhere.jsonl"]
    assert data.rejected("cut")["reasons"] == {"refusal": 1}


def test_answers_about_who_was_forgotten_are_not_shown(
    linked_scenario: Scenario, tmp_path: Path
) -> None:
    """They may come in after the forgetting, from files that `forget` has not seen."""
    path = tmp_path / "late.jsonl"
    record = {"source": "late", "extraction": "individual", "answer": "Likes slow drama."}
    lines = [json.dumps({**record, "entity_id": user}) for user in ("gone", "here")]
    path.write_text("\n".join(lines), encoding="utf-8")
    work = tmp_path / "work"
    shutil.copytree(linked_scenario.work_dir, work, ignore=shutil.ignore_patterns("runs"))
    Forgotten.of(work).with_ids(["gone"], []).write(work)
    described = SourceAnswers(entity="user", individual=[str(path)])
    knowledge = linked_scenario.knowledge.model_copy(update={"answers": {"late": described}})
    data = WorkData(
        linked_scenario.model_copy(update={"work_dir": str(work), "knowledge": knowledge})
    )
    assert data.answers_about("user", "gone") == []
    assert [one["text"] for one in data.answers_about("user", "here")] == ["Likes slow drama."]


def test_of_structured_answers_the_first_that_has_the_factor_counts(
    linked_scenario: Scenario, tmp_path: Path
) -> None:
    path = tmp_path / "structured.jsonl"
    record = {"source": "item", "entity_id": "7", "extraction": "individual", "answer": "{}"}
    factors: list[dict[str, str]] = [{"genre": "drama"}, {"mood": "dark"}, {"mood": "light"}]
    lines = [json.dumps({**record, "factors": one}) for one in factors]
    lines.append(json.dumps({**record, "entity_id": "8", "factors": factors[0]}))
    path.write_text("\n".join(lines), encoding="utf-8")
    described = SourceAnswers(entity="item", individual=[str(path)], factor="mood")
    knowledge = linked_scenario.knowledge.model_copy(update={"answers": {"item_mood": described}})
    data = WorkData(linked_scenario.model_copy(update={"knowledge": knowledge}))
    texts = [data.answers_about("item", item)[0]["text"] for item in ("7", "8")]
    assert texts == ["dark", None]


def test_a_group_s_answer_is_shown_to_its_members(browser: TestClient) -> None:
    assert "these films offer" in page(browser, f"/item?id={ITEMS_WITH_GROUP[0]}").text


def test_prompts_about_users_are_hidden_until_asked_for(browser: TestClient) -> None:
    hidden = page(browser, "/user?id=u1")
    assert "stars;" not in hidden.text and "liked Film" in hidden.text
    assert any(link.endswith("prompt=show") for link in hidden.links)
    assert "stars;" in page(browser, "/user?id=u1&prompt=show").text


def test_what_knowledge_moved(
    browser: TestClient, session: Session, samples: dict[str, np.ndarray]
) -> None:
    predictions = [session.predictions(ranker) for ranker in session.rankers]
    labels = samples["label"]
    np.testing.assert_array_equal(predictions[0].labels, labels)
    before, after = (predictions[place].scores.astype(float) for place in (0, 2))
    gain = np.where(labels > 0, np.log(after / before), np.log((1 - after) / (1 - before)))
    np.testing.assert_allclose(session.gains(session.rankers[2]), gain, atol=1e-9)
    shown = page(browser, "/moved?by=cold_user").body()
    gains = [float(row[-1]) for row in shown if len(row) == 6 and row[2] in ("liked", "not liked")]
    largest = np.sort(gain)[::-1]
    expected = [*largest[:20][largest[:20] > 0], *largest[::-1][:20][largest[::-1][:20] < 0]]
    np.testing.assert_allclose(gains, expected, atol=0.0006)
    aucs = [roc_auc_score(labels, scores) for scores in (before, after)]
    assert f"{aucs[0]:.4f} → {aucs[1]:.4f}" in page(browser, "/moved").text.replace("\n", " ")
    of_group = page(browser, "/moved?by=cold_user&group=cold&to=1")
    (row,) = [row for row in of_group.body() if row and row[0] == "cold"]
    assert int(row[1]) == int((samples["position"] < 5).sum())


def test_the_map_is_two_principal_components_and_judges_what_is_selected(
    browser: TestClient, session: Session, samples: dict[str, np.ndarray]
) -> None:
    records = read_knowledge(session.data.scenario.work_dir, "links")
    centred = records.vectors.astype(np.float64) - records.vectors.mean(axis=0)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    unit -= unit.mean(axis=0)
    left, sizes, _ = np.linalg.svd(unit, full_matrices=False)
    plane = session.data.vectors("links").plane
    np.testing.assert_allclose(np.abs(plane), np.abs(left[:, :2] * sizes[:2]), atol=1e-4)
    places = MapScale(plane).on_map(plane)
    assert places.min() >= 0 and places.max() <= MAP_SIZE
    cut = int(np.median(places[:, 0]))
    shown = page(browser, f"/map?source=links&left=0&right={cut}&top=0&bottom={MAP_SIZE}")
    chosen = np.array(records.entity_ids)[places[:, 0] <= cut]
    rows = np.isin(samples["item_id"].astype(str), chosen)
    assert f"{len(chosen)} items, {rows.sum()} samples" in shown.text
    for ranker, row in zip(session.rankers, shown.body()[1:4], strict=True):
        auc = roc_auc_score(samples["label"][rows], session.predictions(ranker).scores[rows])
        assert row[:2] == [ranker.name, f"{auc:.4f}"]


@pytest.mark.parametrize("colour", ["genres", "year", "coverage", "popularity"])
@pytest.mark.parametrize("source", ["links", "item"])
def test_every_item_on_the_map_has_one_colour(
    browser: TestClient, session: Session, source: str, colour: str
) -> None:
    text = browser.get(f"/map?source={source}&colour={colour}").text
    (legend,) = re.findall(r'<ul class="legend">(.*?)</ul>', text, re.DOTALL)
    counts = [int(count) for count in re.findall(r"<small>(\d+)</small>", legend)]
    assert len(counts) >= 2
    assert sum(counts) == len(session.data.vectors(source).ids)


def test_quality_counts_what_is_covered_and_what_was_rejected(
    browser: TestClient, session: Session
) -> None:
    shown = page(browser, "/quality?source=item")
    own, group = len(ITEMS_WITH_ANSWER), len(ITEMS_WITH_GROUP)
    assert (
        f"Of {len(ITEMS)} items of the catalogue, {own} have knowledge of their own" in shown.text
    )
    assert f"{group} that of a group, {len(ITEMS) - own - group} none" in shown.text
    assert [row[:2] for row in shown.body() if row and row[0] == "blank_answer"] == [
        ["blank_answer", "1"]
    ]
    names = page(browser, "/quality?source=links")
    assert ["Film 99", "2", "outside node"] in names.body()
    assert ["dropped: repeated name", "1"] in names.body()


def test_a_run_has_no_versions(browser: TestClient) -> None:
    assert "A run has no versions" in page(browser, "/versions").text


def test_what_a_refresh_changed(tmp_path: Path) -> None:
    base = Path(shutil.copytree(exported("din", "ridge").base, tmp_path / "export"))
    texts = {
        "1": "a western of horses, dust and duels at noon, told by its villain",
        "unknown to the data": "jokes and wit about a family that moves to the sea for good",
    }
    answers = [
        {"source": "item", "entity_id": item, "extraction": "individual", "answer": text}
        for item, text in texts.items()
    ]
    lines = "".join(json.dumps(answer) + "\n" for answer in answers)
    (tmp_path / "new.jsonl").write_text(lines, encoding="utf-8")
    result = refresh(RefreshRequest(base, AnswerFiles([str(tmp_path / "new.jsonl")])))
    assert result["version"] == 2
    # Versions are often numbered by the time.
    before, after = 1_700_000_001, 1_700_000_002
    for number, name in ((1, before), (2, after)):
        (base / str(number)).rename(base / str(name))
    config = exported("din", "ridge").run.folder.config
    opened = Session.open(base, [], config, "validation")
    change = opened.version_change(before, after)
    assert change.items == ["1"] and change.num_items == 2 and change.new_items == 0
    assert change.tables["items, augmented vector of item"] == 2
    assert change.tables["items, row of the match of item"] == 2
    assert change.tables["items, mean rating"] == 0
    old, new = (tf.saved_model.load(str(base / str(name))) for name in (before, after))
    files = WorkDirectory(opened.data.scenario.work_dir).examples.shards("validation")
    dataset = tf.data.TFRecordDataset([str(file) for file in files], compression_type="GZIP")
    examples = tf.stack(list(dataset))
    scores_before, scores_after = (
        one.signatures["predict_examples"](examples=examples)["score"].numpy() for one in (old, new)
    )
    moves_of = scores_after - scores_before
    moved = int((np.abs(moves_of) > 1e-6).sum())
    assert 0 < moved
    with TestClient(explorer_app(opened, "127.0.0.1"), "http://127.0.0.1") as client:
        shown = page(client, "/versions")
        assert f"{moved} of {len(moves_of)} samples of the validation part" in shown.text
        assert f"version 1, {result['changed_rows']} rows changed" in shown.text
        largest = np.abs(moves_of).argmax()
        moves = [row[-1] for row in shown.body() if len(row) == 6 and row[2] != "Label"]
        assert moves[0] == f"{moves_of[largest]:+.4f}"
        assert "there is no version 7" in page(client, "/versions?before=7", 404).text
        body = request_of(client, "/ranking?user=u3")
        scores = new.signatures[body["signature_name"]](
            **{name: tf.constant(values) for name, values in body["inputs"].items()}
        )["score"].numpy()
        assert (np.diff(scores) <= 0).all()
        ranked = [row[2].split()[-1] for row in page(client, "/ranking?user=u3").body()[1:]]
        assert ranked == [f"{score:.3f}" for score in scores]
        assert "has version" not in shown.text


def test_search_finds_titles_ids_and_users(browser: TestClient, session: Session) -> None:
    found = Page(browser.get("/search?q=film+1", headers={"HX-Request": "true"}).text)
    assert "Film 1" in found.text and "<html" not in found.text
    titles = [session.data.items.title(item) for item in session.data.items.search("film 1", 99)]
    assert titles[0] == "Film 1" and len(titles) == sum(
        title.startswith("Film 1") for title in session.data.items.titles
    )
    assert "/ranking?user=u7" in page(browser, "/search?q=u7").links
    assert "Nothing is found" in page(browser, "/search?q=zzz").text


def every_address() -> Iterator[str]:
    yield from ("/ranking", "/ranking?user=u3&why=1&candidates=all", "/item?id=1", "/user?id=u1")
    yield from ("/moved", "/map", "/map?left=0&right=500&top=0&bottom=500", "/quality")
    yield from ("/quality?source=links", "/quality?source=user", "/versions", "/search?q=film")


def test_links_of_all_pages_lead_to_pages(browser: TestClient) -> None:
    links = {link for address in every_address() for link in page(browser, address).links}
    assert {link.split("?")[0] for link in links} >= {"/ranking", "/item", "/moved", "/quality"}
    for kind in ("/item", "/user", "/moved", "/quality", "/map"):
        for link in sorted(link for link in links if link.startswith(f"{kind}?"))[:3]:
            page(browser, link)


def test_pages_ask_nothing_of_others(browser: TestClient) -> None:
    for shown in every_address():
        text = re.sub(r"<pre.*?</pre>", "", browser.get(shown).text, flags=re.DOTALL)
        assert not re.findall(r"(?:https?:)?//[a-z0-9]", text), shown
        assert not re.findall(r"<[^>]* (?:style|on[a-z]+)=", text), shown
        assert "<script>" not in text and "<style" not in text


@pytest.fixture(scope="module")
def implicit() -> Session:
    run_dir = str(Path(implicit_scenario().work_dir) / "runs" / "explored")
    run = write_run(implicit_scenario(run_dir=run_dir, model__adapter="none"))
    return Session.open(run.folder.path, [], None, "validation")


def assert_scored_as_samples(opened: Session) -> None:
    for ranker in opened.rankers:
        predictions = opened.predictions(ranker)
        for user in opened.samples.users[:8]:
            state = opened.samples.state(user)
            assert state is not None
            chosen = (predictions.user_ids == user) & (predictions.item_ids == state.items[0])
            (score,) = ranker.scores(state.request, state.items[:1])
            assert score == pytest.approx(predictions.scores[chosen][0], abs=1e-5)


def test_users_are_scored_as_their_samples_are(session: Session, implicit: Session) -> None:
    for opened in (session, implicit):
        assert_scored_as_samples(opened)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pca", "pq"])
def test_profiles_are_read_by_models_that_read_them(name: str) -> None:
    """The second variant reads none, though users have them."""
    variant = exported_variant(name)
    folder, config = variant.run.folder.path, Path(variant.run.folder.config)
    assert_scored_as_samples(Session.open(variant.base, [folder], config, "validation"))


def test_a_number_of_a_profile_may_be_zero(tmp_path: Path) -> None:
    scenario = rich_scenario()
    (file, *_) = WorkDirectory(scenario.work_dir).examples.shards("validation")
    (record, *_) = tf.data.TFRecordDataset([str(file)], compression_type="GZIP").take(1)
    example = tf.train.Example.FromString(record.numpy())
    example.features.feature["profile_age"].float_list.value[:] = [0.0]
    example.features.feature["profile_city"].bytes_list.value[:] = []
    copy = WorkDirectory(tmp_path).examples.shard("validation", 0, 1)
    copy.parent.mkdir(parents=True)
    with tf.io.TFRecordWriter(str(copy), "GZIP") as writer:
        writer.write(example.SerializeToString())
    samples = Samples(scenario.model_copy(update={"work_dir": str(tmp_path)}), "validation")
    (user,) = samples.users
    state = samples.state(user)
    assert state is not None and state.request.profile == {"age": 0.0}


def test_a_part_without_samples_takes_a_typed_history(
    linked_scenario: Scenario, runs: dict[str, Path], tmp_path: Path
) -> None:
    work = Path(shutil.copytree(linked_scenario.work_dir, tmp_path / "work"))
    file = WorkDirectory(work).examples.shard("validation", 0, 1)
    shutil.rmtree(file.parent)
    file.parent.mkdir()
    tf.io.TFRecordWriter(str(file), "GZIP").close()
    WorkDirectory(work).examples.manifest.unlink()
    opened = Session.open(runs["ridge"], [runs["none"]], None, "validation")
    opened = Session(
        opened.rankers,
        WorkData(linked_scenario.model_copy(update={"work_dir": str(work)})),
        "validation",
    )
    with TestClient(explorer_app(opened, "127.0.0.1"), "http://127.0.0.1") as client:
        shown = page(client, "/ranking")
        assert "Ranking for a typed history" in shown.text and "0 entries" in shown.text
        assert len(shown.body()) == 51
        assert "the validation part has no samples" in page(client, "/moved", 409).text


def test_another_user_of_the_form_is_that_user(browser: TestClient) -> None:
    form = "edited=1&of=u3&item=1&rating=5&candidates=later"
    assert page(browser, f"/ranking?{form}&user=u4").body() == (
        page(browser, "/ranking?user=u4").body()
    )
    stranger = page(browser, f"/ranking?{form}&user=stranger")
    assert "1 entries" in stranger.text and "the first 50" in stranger.text
    assert "Ranking for user u4" in page(browser, "/ranking?edited=1&of=&item=1&user=u4").text
    assert "1 entries" in page(browser, "/ranking?edited=1&item=1&rating=5&add=+").text


def test_a_history_of_implicit_feedback_is_edited_without_ratings(implicit: Session) -> None:
    user = implicit.samples.users[0]
    state = implicit.samples.state(user)
    assert state is not None
    history = [str(item) for item in state.request.history_item_id]
    with TestClient(explorer_app(implicit, "127.0.0.1"), "http://127.0.0.1") as client:
        text = client.get(f"/ranking?user={user}").text
        assert text.count('type="checkbox"') == len(history) and "the samples of the part" in text
        kept = "&".join(f"item={item}" for item in history[:0:-1])
        shown = page(client, f"/ranking?edited=1&of={user}&user={user}&{kept}&candidates=all")
        assert f"{len(history) - 1} entries" in shown.text
        request = UserRequest.from_history(user, history[1:])
        candidates = [item for item in implicit.data.items.ids if item not in history[1:]]
        best = np.sort(implicit.rankers[0].scores(request, candidates))[::-1][:50]
        assert [row[1].split()[-1] for row in shown.body()[1:]] == [f"{one:.3f}" for one in best]


def test_an_item_twice_in_a_history_counts_twice(session: Session) -> None:
    ridge = session.rankers[2]
    assert isinstance(ridge, RunRanker)
    user = UserRequest.from_history("u3", ["9", "2", "9"], [4.0, 1.0, 5.0], 4.0)
    raw = {name: tf.constant(v) for name, v in rank_inputs(user, ["1"]).items()}
    preparation = ridge._model.inputs_preparation
    features = preparation(raw)["match"].numpy()[0]
    for source, found in session.explain(ridge, user, "1").items():
        assert found is not None and sorted(one.item for one in found) == ["2", "9", "9"]
        mean = features[preparation.matches.feature_names.index(f"{source}/mean")]
        assert sum(one.value for one in found) == pytest.approx(mean, abs=1e-5)


def test_the_last_rankings_are_kept(session: Session) -> None:
    users = [UserRequest.from_history("u3", ["9"], [rating]) for rating in (1.0, 2.0, 2.0)]
    rankings = [session.rank(user, ["1", "2"]) for user in users]
    assert rankings[0] is not rankings[1] and rankings[1] is rankings[2]
    assert session.rank(users[1], ["2", "1"]) is not rankings[1]


def test_gates_are_the_softmax_of_the_vector() -> None:
    run = written_run("din", "hein")
    opened = Session.open(run.folder.path, [], None, "validation")
    (gates,) = opened.gates("item", "1")["random_din_hein_1"]
    weights = {weight.name.split("/")[-1]: weight.numpy() for weight in run.model.adapter.weights}
    records = read_knowledge(run.scenario.work_dir, "item")
    vector = records.vectors[records.entity_ids.index("1")].astype(np.float64)
    logits = vector @ weights["gate_item_kernel:0"] + weights["gate_item_bias:0"]
    np.testing.assert_allclose(gates.shares, np.exp(logits) / np.exp(logits).sum(), atol=1e-5)
    assert gates.source == "item" and gates.num_shared_experts == 2
    with TestClient(explorer_app(opened, "127.0.0.1"), "http://127.0.0.1") as client:
        text = client.get("/item?id=1").text
        assert f"shared expert 2: {100 * gates.shares[1]:.0f} %" in text
        assert f"own expert 1: {100 * gates.shares[2]:.0f} %" in text
        assert "own expert 3" in client.get("/user?id=u1").text
        assert "Experts" not in client.get(f"/item?id={ITEMS[-1]}").text


def test_a_model_without_knowledge_explains_nothing() -> None:
    export = exported("din", "none")
    opened = Session.open(export.base, [], Path(export.run.folder.config), "validation")
    with TestClient(explorer_app(opened, "127.0.0.1"), "http://127.0.0.1") as client:
        assert "the model has no knowledge match" in client.get("/ranking?user=u3&why=1").text


AWKWARD_IDS = ["a&b=c", "<i>", "50%", "x/../y", "#1", "B00ABC", "é +"]


def test_items_of_any_id_are_found_and_have_an_address(tmp_path: Path) -> None:
    count = len(AWKWARD_IDS)
    columns = {
        "item_id": AWKWARD_IDS,
        "title": ["", "", "", "", "", "", "The Stranger"],
        "rating_sum": [0.0] * count,
        "rating_count": [0] * count,
        "rating_sum_by_fold": [[0.0] * USER_FOLDS] * count,
        "rating_count_by_fold": [[0] * USER_FOLDS] * count,
    }
    pq.write_table(pa.table(columns, pa.schema(FIXED_COLUMNS.items())), tmp_path / "items.parquet")
    items = Items(tmp_path / "items.parquet")
    for item in AWKWARD_IDS:
        assert items.search(item, 1) == [item]
        query = QueryParams(urlsplit(address("/item", id=item)).query)
        assert Parameters(query).text("id") == item
    assert items.search("b00", 5) == ["B00ABC"] and items.search("stranger", 5) == ["é +"]


def test_long_labels_are_cut_before_the_rating():
    labels = ["Confessions of a Shopaholic (0.5)", "x" * 25, "Holiday, The (2)"]
    chart = str(bars("contributions", [Bar(label, 1.0, "+1") for label in labels]))
    shown = re.findall(r'class="label"[^>]*>([^<]*)<', chart)
    assert shown == ["Confessions of a… (0.5)", "x" * 23 + "…", "Holiday, The (2)"]
