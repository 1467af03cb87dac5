from __future__ import annotations

import argparse
import dataclasses
import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from configs.command_line import (
    CommandError,
    TeachingParser,
    add_field_options,
    run_command,
    section_of,
)
from configs.loading import ConfigurationError
from serving.__main__ import main
from serving.client import RankingClient, RestRankingClient, UserRequest, retries
from serving.commands.requests import add_loadtest, client_of, read_request
from serving.match_explanation import match_contributions
from serving.options import LoadTestOptions, RequestOptions
from serving.server import LocalServer
from serving.server.server_files import ModelSettings, VersionPolicy
from tests.scenarios import ITEMS, USERS_WITH_ANSWER
from tests.serving.client.answering import READY_SECONDS, Answering, HastyClock, answering
from tests.serving.exports import (
    exported,
    exported_implicit,
    exported_variant,
    list_rows,
    one_user_request,
    tensors,
    user_of,
    variant_rows,
)
from tests.serving.toy_ranker import toy_base_path, toy_score
from tests.waiting import LONGEST_SECONDS

USER = {
    "user_id": "u1",
    "history_item_id": ["x", "y"],
    "history_rating": [5.0, 3.5],
    "user_share_liked": 0.5,
    "user_mean_rating": 4.25,
    "user_log_count": 1.1,
}
CANDIDATES = ["bb", "a", "dddd", "ccc"]
PATIENT = ["--timeout-seconds", str(LONGEST_SECONDS)]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer({"toy": toy_base_path()}) as server:
        yield server


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    path = tmp_path / "user.json"
    path.write_text(json.dumps(USER | {"candidates": CANDIDATES}))
    return path


@pytest.fixture
def titles_file(tmp_path: Path) -> Path:
    path = tmp_path / "item_attributes.parquet"
    table = {"item_id": ["a", "bb", "dddd", "z"], "title": ["Alien", "Brazil", "", "Zulu"]}
    pq.write_table(pa.table(table), path)
    return path


def targets(server: LocalServer) -> list[str]:
    return [f"grpc://127.0.0.1:{server.grpc_port}", f"http://127.0.0.1:{server.rest_port}"]


@pytest.fixture
def predict(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Asks a target about a request file: exit code, standard output and standard error."""

    def asked(target: str, request: Path, *more: str, model: str = "toy") -> tuple[int, str, str]:
        words = ["--target", target, "--model", model, "--request", str(request), *PATIENT, *more]
        code = main(["predict", *words])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return asked


@pytest.fixture
def predicted(predict) -> Callable[..., dict[str, Any]]:
    """The result of a request that succeeds."""

    def result(*words: Any, **options: str) -> dict[str, Any]:
        code, output, told = predict(*words, "--json", **options)
        assert code == 0, told
        return json.loads(output)

    return result


def test_json_has_the_ranking_over_both_transports(
    predicted, server: LocalServer, request_file: Path, titles_file: Path
) -> None:
    for target in targets(server):
        result = predicted(target, request_file, "--titles", str(titles_file))
        assert (result["model"], result["version"]) == ("toy", 3)
        ranking = result["ranking"]
        assert [row["item_id"] for row in ranking] == ["dddd", "ccc", "bb", "a"]
        assert [row["title"] for row in ranking] == [None, None, "Brazil", "Alien"]
        for row in ranking:
            assert row["score"] == pytest.approx(
                toy_score(item_id=row["item_id"], **USER), rel=1e-6
            )


def test_the_table_is_for_people(
    predict, server: LocalServer, request_file: Path, titles_file: Path
) -> None:
    words = ["--titles", str(titles_file), "--top", "3"]
    code, output, told = predict(targets(server)[0], request_file, *words)
    assert (code, output) == (0, "")
    lines = told.splitlines()
    assert lines[0] == "toy version 3, user u1"
    assert [line.split()[0] for line in lines[2:]] == ["1", "2", "3"]
    best = toy_score(item_id="dddd", **USER)
    assert lines[2].split() == ["1", f"{best:.4f}", "dddd", "-"]
    assert lines[4].split()[2:] == ["bb", "Brazil"]


def test_a_labelled_version_is_asked_and_the_one_that_answered_is_named(
    predict, request_file: Path
) -> None:
    service = Answering({"score": np.float32([0.1, 0.2, 0.3, 0.4])})
    service.version = 41
    with answering(service) as port:
        words = ["--version-label", "canary", "--json"]
        code, output, told = predict(f"grpc://127.0.0.1:{port}", request_file, *words)
    assert (code, json.loads(output)["version"]) == (0, 41)
    assert told.startswith("toy version 41, user u1")
    assert service.requests[0].model_spec.version_label == "canary"


def test_equal_scores_keep_the_order_of_the_request(
    predicted, server: LocalServer, tmp_path: Path
) -> None:
    path = tmp_path / "user.json"
    path.write_text(json.dumps(USER | {"candidates": ["q", "a", "m"]}))
    ranking = predicted(targets(server)[0], path)["ranking"]
    assert [row["item_id"] for row in ranking] == ["q", "a", "m"]


@pytest.fixture(scope="module")
def other_kinds() -> Iterator[LocalServer]:
    bases = {name: exported_variant(name).base for name in ("prm", "two_tower", "linear")}
    with LocalServer(bases | {"toy": toy_base_path()}) as server:
        yield server


def test_a_reranker_ranks_a_list(predicted, other_kinds: LocalServer, tmp_path: Path) -> None:
    raw = list_rows()
    user = user_of(raw, 0)
    candidates = [item.decode() for item in raw["item_id"][0]]
    path = tmp_path / "user.json"
    path.write_text(json.dumps(dataclasses.asdict(user) | {"candidates": candidates}))
    expected = dict(zip(candidates, exported_variant("prm").expected(raw)[0], strict=True))
    for target in targets(other_kinds):
        ranking = predicted(target, path, model="prm")["ranking"]
        assert [row["item_id"] for row in ranking] == sorted(expected, key=lambda i: -expected[i])
        for row in ranking:
            assert row["score"] == pytest.approx(expected[row["item_id"]], abs=1e-5)


def test_who_and_what_the_model_does_not_know_is_marked(
    predict, predicted, other_kinds: LocalServer, tmp_path: Path
) -> None:
    path = tmp_path / "user.json"
    rated = {"history_item_id": ITEMS[:2], "history_rating": [5, 2]}
    unknown = {"stranger film": False}
    for target in targets(other_kinds):
        # Answers about users are knowledge of the model; nobody asked an LLM about the stranger.
        for user, is_known in ((USERS_WITH_ANSWER[0], True), ("stranger", False)):
            request = {"user_id": user, **rated, "candidates": [ITEMS[4], *unknown, ITEMS[7]]}
            path.write_text(json.dumps(request))
            code, output, told = predict(target, path, "--json", model="linear")
            result = json.loads(output)
            assert code == 0
            found = {row["item_id"]: row["known"] for row in result["ranking"]}
            assert found == {ITEMS[4]: True, ITEMS[7]: True, **unknown}
            assert result["known_user"] is is_known
            heading, *lines = told.splitlines()
            assert ("knows only what the request says" in heading) is not is_known
            assert [line.split()[3] for line in lines if "unknown to the model" in line] == [
                "stranger"
            ]
    ranking = predicted(target, path, model="prm")["ranking"]
    assert {row["known"] for row in ranking} == {None}


def test_without_candidates_items_are_retrieved(
    predicted, other_kinds: LocalServer, tmp_path: Path
) -> None:
    path, titles = tmp_path / "user.json", tmp_path / "titles.parquet"
    seen = ITEMS[:5]
    path.write_text(
        json.dumps({"user_id": "u1", "history_item_id": seen, "history_rating": [4] * len(seen)})
    )
    pq.write_table(pa.table({"item_id": ITEMS, "title": [f"Film {i}" for i in ITEMS]}), titles)
    rankings = []
    for target in targets(other_kinds):
        words = ["--titles", str(titles), "--top", "40"]
        rankings.append(predicted(target, path, *words, model="two_tower")["ranking"])
    ranking = rankings[0]
    assert rankings[1] == ranking and len(ranking) == 40
    assert not {row["item_id"] for row in ranking} & set(seen)
    scores = [row["score"] for row in ranking]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) > 30
    assert {row["title"] for row in ranking} - {None} == {
        f"Film {row['item_id']}" for row in ranking if row["item_id"] in ITEMS
    }


def test_a_ranking_model_needs_candidates(
    predict, other_kinds: LocalServer, tmp_path: Path
) -> None:
    path = tmp_path / "user.json"
    path.write_text(json.dumps(USER))
    for target in targets(other_kinds):
        code, _, error = predict(target, path, model="toy")
        assert code == 1 and "top_k" in error and "without the field 'candidates'" in error


def test_a_retrieval_model_takes_no_candidates(
    predict, other_kinds: LocalServer, request_file: Path
) -> None:
    for target in targets(other_kinds):
        code, _, error = predict(target, request_file, model="two_tower")
        assert code == 1 and '"rank"' in error and "Leave out the field 'candidates'" in error


def test_advice_on_candidates_is_for_missing_signatures_alone(
    predict, other_kinds: LocalServer, tmp_path: Path
) -> None:
    path = tmp_path / "user.json"
    path.write_text(json.dumps({"user_id": "u1", "profile": {"age": 30, "town": "Oslo"}}))
    code, _, error = predict(targets(other_kinds)[0], path, model="two_tower")
    assert code == 1 and "'profile.town' is not one" in error and "field 'candidates'" not in error


@pytest.mark.parametrize(
    "details",
    [
        "Signature input alias: profile_age(feed name: rank_profile_age:0) not found in inputs",
        "output tensor alias not found in signature: score Outputs expected to be in the set",
        "Missing named input: profile_age not found",
    ],
)
def test_what_a_signature_lacks_is_no_missing_signature(
    predict, details: str, request_file: Path
) -> None:
    service = Answering()
    service.failures = [grpc.StatusCode.INVALID_ARGUMENT]
    service.details = details
    with answering(service) as port:
        code, _, error = predict(f"grpc://127.0.0.1:{port}", request_file)
    assert code == 1 and details in error and "field 'candidates'" not in error


def test_the_version_of_a_label_is_named_although_a_higher_one_is_served(
    predicted, request_file: Path, tmp_path: Path
) -> None:
    for version in ("2", "3"):
        shutil.copytree(toy_base_path() / "3", tmp_path / "toy" / version)
    policy = VersionPolicy(latest=None)
    with LocalServer([ModelSettings("toy", tmp_path / "toy", policy, {"stable": 2})]) as server:
        for target in targets(server):
            assert predicted(target, request_file, "--version-label", "stable")["version"] == 2


def test_a_profile_that_does_not_fit_is_named_with_file_and_field(
    predict, other_kinds: LocalServer, tmp_path: Path
) -> None:
    path = tmp_path / "user.json"
    for profile, reason in (
        ({"agee": 30}, "'profile.agee' is not one that the model reads; it reads age (number), "),
        ({"age": "thirty"}, "'profile.age' must be a number. Received: a string or several"),
    ):
        path.write_text(json.dumps(USER | {"candidates": CANDIDATES, "profile": profile}))
        for target in targets(other_kinds):
            code, _, error = predict(target, path, model="linear")
            assert code == 1 and f"error: {path}: field {reason}" in error


def test_every_task_has_a_column(predict, other_kinds: LocalServer, tmp_path: Path) -> None:
    rows = variant_rows("linear")
    user = user_of(rows, 1)
    path = tmp_path / "user.json"
    path.write_text(json.dumps(dataclasses.asdict(user) | {"candidates": ITEMS[:3]}))
    repeated = one_user_request(1, rows=rows)[1]
    repeated = {name: values[:3] for name, values in repeated.items()}
    repeated["item_id"] = np.array(ITEMS[:3], dtype=object)
    logits = exported_variant("linear").run.model(tensors(repeated), training=False).numpy()
    expected = dict(zip(ITEMS[:3], 1 / (1 + np.exp(-logits)), strict=True))
    for target in targets(other_kinds):
        code, output, told = predict(target, path, "--json", model="linear")
        ranking = json.loads(output)["ranking"]
        assert code == 0 and [row["item_id"] for row in ranking] == sorted(
            expected, key=lambda i: -expected[i][0]
        )
        for row in ranking:
            assert list(row) == ["item_id", "title", "known", "score", "score_loved"]
            actual = [row["score"], row["score_loved"]]
            np.testing.assert_allclose(actual, expected[row["item_id"]], atol=1e-5)
        header, *lines = (line.split() for line in told.splitlines()[1:])
        assert header == ["rank", "score", "score_loved", "item", "title"]
        assert [line[2] for line in lines] == [f"{row['score_loved']:.4f}" for row in ranking]


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_a_server_that_is_not_there_is_one_clear_line(
    predict, scheme: str, request_file: Path
) -> None:
    code, output, told = predict(f"{scheme}://127.0.0.1:1", request_file, "--json")
    assert (code, output) == (1, "")
    (line,) = told.splitlines()
    assert line.startswith("error: no server ")
    assert "127.0.0.1:1" in line


def test_what_the_server_refuses_is_said(predict, server: LocalServer, request_file: Path) -> None:
    for target in targets(server):
        code, _, error = predict(target, request_file, model="other")
        assert code == 1 and "other" in error and "[NOT_FOUND]" in error


def test_wrong_files_are_named(predict, server: LocalServer, request_file: Path) -> None:
    target = targets(server)[0]
    folder = request_file.parent
    (folder / "empty.json").write_text("{}")
    pq.write_table(pa.table({"item_id": ["a"]}), folder / "untitled.parquet")
    for words, reason in (
        ([folder / "missing.json"], "missing.json"),
        ([folder / "empty.json"], "empty.json: field 'user_id' is missing"),
        ([request_file, "--titles", str(folder / "missing.parquet")], "missing.parquet"),
        ([request_file, "--titles", str(request_file)], "user.json: not a Parquet file"),
        ([request_file, "--titles", str(folder / "untitled.parquet")], "no column 'title'"),
    ):
        missing = reason.startswith("missing")
        code, _, error = predict(target, words[0], *words[1:])
        assert code == (2 if missing else 1)
        assert reason in error and ("there is no file or folder '" in error) is missing


@pytest.mark.parametrize(
    "words",
    [
        ["--target", "127.0.0.1:8500"],
        ["--target", "grpc://127.0.0.1"],
        ["--target", "ftp://127.0.0.1:1"],
        ["--target", "http://127.0.0.1:port"],
        ["--top", "0"],
        ["--top", "-1"],
        ["--timeout-seconds", "0"],
        ["--timeout-seconds", "nan"],
        ["--timeout-seconds", "soon"],
    ],
)
def test_wrong_options_are_wrong_usage(
    predict, words: list[str], request_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        predict("grpc://127.0.0.1:1", request_file, *words)
    assert caught.value.code == 2
    assert f"{words[0]}: expected" in capsys.readouterr().err


@pytest.fixture(scope="module")
def feedback() -> Iterator[LocalServer]:
    """A model of ratings and one of implicit feedback."""
    bases = {"rated": exported().base, "implicit": exported_implicit().base}
    with LocalServer(bases) as server:
        yield server


@pytest.fixture
def scores_of(predicted) -> Callable[[str, Path, str], list[float]]:
    """Scores in the order of the item ids."""

    def scores(target: str, path: Path, model: str) -> list[float]:
        ranking = predicted(target, path, model=model)["ranking"]
        return [row["score"] for row in sorted(ranking, key=lambda row: row["item_id"])]

    return scores


def test_the_model_knows_from_which_rating_on_an_item_is_liked(
    scores_of, feedback: LocalServer, tmp_path: Path
) -> None:
    user = {
        "user_id": "u1",
        "history_item_id": [*ITEMS[:3]],
        "history_rating": [5.0, 4.0, 3.5],  # liked from 4 on
        "candidates": [*ITEMS[3:6]],
    }
    given, left_out, wrong = (tmp_path / name for name in ("given.json", "out.json", "wrong.json"))
    given.write_text(json.dumps({**user, "user_share_liked": 2 / 3}))
    left_out.write_text(json.dumps(user))
    wrong.write_text(json.dumps({**user, "user_share_liked": 1 / 3}))
    for target in targets(feedback):
        expected = scores_of(target, given, "rated")
        assert scores_of(target, left_out, "rated") == pytest.approx(expected, abs=1e-6)
        assert scores_of(target, wrong, "rated") != pytest.approx(expected, abs=1e-4)


def test_a_model_of_implicit_feedback_needs_no_ratings(
    scores_of, feedback: LocalServer, tmp_path: Path
) -> None:
    export = exported_implicit()
    assert export.result["proof"] is not None
    inputs = export.loaded.signatures["rank"].structured_input_signature[1]
    assert inputs.keys() == {"user_id", "item_id", "history_item_id", "user_log_count"}
    manifest = json.loads((export.path / "assets.extra" / "manifest.json").read_text())
    assert manifest["ratings"] == {"in_requests": False, "positive_rating": 1.0}
    items, history = [*ITEMS[3:6]], [*ITEMS[:3]]
    raw = {
        "user_id": np.array([b"u1"], object),
        "item_id": np.array([item.encode() for item in items], object),
        "history_item_id": np.array([[item.encode() for item in history]], object),
        "history_rating": np.ones([1, 3], np.float32),
        "user_share_liked": np.ones(1, np.float32),
        "user_mean_rating": np.ones(1, np.float32),
        "user_log_count": np.log1p(np.float32([3])),
    }
    user = {"user_id": "u1", "history_item_id": history, "candidates": items}
    plain, rated = tmp_path / "plain.json", tmp_path / "rated.json"
    plain.write_text(json.dumps(user))
    rated.write_text(json.dumps({**user, "history_rating": [1, 1, 1]}))
    for target in targets(feedback):
        for path in (plain, rated):
            scores = scores_of(target, path, "implicit")
            assert scores == pytest.approx(export.expected(raw).tolist(), abs=1e-5)


def test_ratings_that_the_model_reads_are_asked_for(
    predict, feedback: LocalServer, tmp_path: Path
) -> None:
    path = tmp_path / "user.json"
    path.write_text(json.dumps({"user_id": "u1", "history_item_id": ["1"], "candidates": ["2"]}))
    for target in targets(feedback):
        code, _, error = predict(target, path, model="rated")
        assert code == 1 and "history_rating is missing: the model reads the ratings" in error
    path.write_text(json.dumps({"user_id": "u1", "candidates": ["2"]}))
    for target in targets(feedback):
        assert predict(target, path, model="rated")[0] == 0


def test_what_moves_the_match_is_explained(
    predict, other_kinds: LocalServer, tmp_path: Path
) -> None:
    path, titles = tmp_path / "user.json", tmp_path / "titles.parquet"
    pq.write_table(pa.table({"item_id": ITEMS, "title": [f"Film {i}" for i in ITEMS]}), titles)
    history = {"history_item_id": ["never seen", *ITEMS[:4]], "history_rating": [5, 5, 1, 4, 2]}
    candidates = [*ITEMS[5:8], "never seen"]
    path.write_text(json.dumps({"user_id": "u1", **history, "candidates": candidates}))
    base = exported_variant("prm").base
    words = ["--explain", "2", "--base", str(base), "--titles", str(titles)]
    code, output, told = predict(targets(other_kinds)[0], path, *words, "--json", model="prm")
    assert code == 0
    ranking = json.loads(output)["ranking"]
    user = UserRequest.from_history("u1", *history.values())
    actual = match_contributions(base / "1", user, [row["item_id"] for row in ranking])
    assert list(actual) == ["item"] and actual["item"].history.tolist() == [1, 2, 3, 4]
    for place, row in enumerate(ranking):
        match, values = row["match"]["item"], actual["item"].values[place]
        if row["item_id"] == "never seen":
            assert match == {"mean": None, "contributions": [], "others": 0.0}
            assert "\nnever seen: item does not know it" in told
            continue
        order = np.argsort(-np.abs(values))
        assert match["mean"] == pytest.approx(values.sum())
        assert match["others"] == pytest.approx(values[order[2:]].sum())
        for entry, one in zip(order, match["contributions"], strict=False):
            number = actual["item"].history[entry]
            item = history["history_item_id"][number]
            assert one == {
                "item_id": item,
                "title": f"Film {item}",
                "rating": history["history_rating"][number],
                "contribution": pytest.approx(values[entry]),
            }
        assert len(match["contributions"]) == 2
    best = next(row for row in ranking if row["match"]["item"]["mean"] is not None)
    first, mean = best["match"]["item"]["contributions"][0], best["match"]["item"]["mean"]
    assert f"{best['item_id']} {best['title']}: item {mean:+.3f}" in told
    line = [f"{first['contribution']:+.3f}", f"{first['rating']:g}", first["item_id"]]
    assert [*line, *first["title"].split()] in [text.split() for text in told.splitlines()]


def test_what_cannot_be_explained_is_said(
    predict, other_kinds: LocalServer, request_file: Path, tmp_path: Path
) -> None:
    target, retrieve = targets(other_kinds)[0], tmp_path / "retrieve.json"
    retrieve.write_text(json.dumps(USER))
    for model, request, base, code, reason in (
        ("linear", request_file, exported_variant("linear").base, 2, "kind means is not explained"),
        ("two_tower", retrieve, exported_variant("two_tower").base, 2, "has no knowledge match"),
        ("toy", request_file, toy_base_path(), 1, "refresh.json is missing"),
        ("toy", request_file, tmp_path, 2, f"--base {tmp_path}: has no version 3, which answered"),
        ("toy", request_file, None, 2, "--base is the folder of the model's versions"),
    ):
        words = ["--explain", "1", *(["--base", str(base)] if base else [])]
        actual, _, error = predict(target, request, *words, model=model)
        assert actual == code and reason in error


def read(*words: str) -> RequestOptions:
    parser = argparse.ArgumentParser()
    add_field_options(parser, RequestOptions)
    return section_of(parser.parse_args(["--model", "m", *words]), RequestOptions)


def test_the_scheme_names_the_transport() -> None:
    with client_of(read("--target", "grpc://h:1", "--version-label", "stable")) as client:
        assert isinstance(client, RankingClient)
        assert (client.address.target, client.address.version_label) == ("h:1", "stable")
        assert client.retry_policy.timeout_seconds == 10
    words = ["--target", "http://h:1", "--model-version", "3", "--timeout-seconds", "2.5"]
    with client_of(read(*words)) as client:
        assert isinstance(client, RestRankingClient)
        assert (client.address.target, client.address.model_version) == ("http://h:1", 3)
        assert client.retry_policy.timeout_seconds == 2.5


@pytest.mark.parametrize(
    "words",
    [
        ["--target", "grpc://h:1", "--model-version", "0"],
        ["--target", "grpc://h:1", "--model-version", "1", "--version-label", "stable"],
        ["--target", "grpc://h:1", "--positive-rating", "nan"],
        ["--target", "grpc://h:1", "--model-version", "9" * 22],
        ["--target", "grpc://h:1", "--timeout-seconds", "1e10"],
        [],
    ],
)
def test_wrong_server_options_are_wrong_usage(words: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read(*words)
    assert caught.value.code == 2


def test_certificates_need_encryption_and_come_in_pairs(tmp_path: Path) -> None:
    key = str(tmp_path / "client.key")
    with pytest.raises(ConfigurationError, match="grpcs:// or https://"):
        client_of(read("--target", "grpc://h:1", "--root-certificates", key))
    with pytest.raises(ConfigurationError, match="both or neither"):
        client_of(read("--target", "grpcs://h:1", "--client-key", key))
    with pytest.raises(FileNotFoundError, match="client.key"):
        client_of(read("--target", "grpcs://h:1", "--root-certificates", key))
    with client_of(read("--target", "https://h:1")) as client:
        assert isinstance(client, RestRankingClient)


GOOD = {"user_id": "42", "candidates": ["50"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not valid JSON"),
        ("{'user_id': 1}", "not valid JSON"),
        ("[1]", "must be a JSON object"),
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


QUICK = ["--seconds", "0.5", "--warmup-seconds", "0.25", "--arrivals", "even"]


def parse(*words: str) -> argparse.Namespace:
    parser = TeachingParser()
    add_loadtest(parser.add_subparsers(required=True))
    return parser.parse_args(["loadtest", *words])


def run(server: LocalServer, *words: str, model: str = "toy") -> int:
    target = f"grpc://127.0.0.1:{server.grpc_port}"
    arguments = parse("--target", target, "--model", model, *QUICK, *PATIENT, *words)
    return run_command(arguments.run, arguments)


def test_every_rate_and_number_of_candidates_is_measured(
    server: LocalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--rate", "40,80", "--seconds", "0.25", "--warmup-seconds", "0.1"]
    words += ["--candidates", "1,5", "--out", str(tmp_path / "load"), "--json"]
    assert run(server, *words) == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert (result["model"], result["version"], result["signature"]) == ("toy", 3, "rank")
    measures = result["measures"]
    assert [(m["candidates"], m["rate"]) for m in measures] == [(1, 40), (1, 80), (5, 40), (5, 80)]
    assert [m["requests"] for m in measures] == [10, 20, 10, 20]
    for measure in measures:
        assert measure["answered"] == measure["requests"] and measure["failed"] == {}
        assert measure["versions"] == {"3": measure["requests"]}
        latency = measure["latency_ms"]
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert result["same_machine"] is True
    assert "share this machine" in captured.err and "p99 ms" in captured.err
    assert json.loads((tmp_path / "load" / "results.json").read_text()) == result
    assert (tmp_path / "load" / "latency.svg").stat().st_size > 1000


def test_rows_of_a_request_file_are_sent(
    server: LocalServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text('{"user_id": "u", "candidates": ["a", "b"]}\n')
    words = ["--signature", "serving_default", "--requests", str(path), "--candidates", "2"]
    assert run(server, *words, "--json") == 0
    result = json.loads(capsys.readouterr().out)
    assert result["requests"] == f"requests of {path}"
    assert result["measures"][0]["answered"] == 10


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ({"profile": {"shoe": 43}}, "field 'profile.shoe' is not one that the model reads"),
        ({"history_rating": None}, "history_rating is missing"),
    ],
)
def test_a_later_line_that_does_not_fit_the_model_is_named(
    server: LocalServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    later: dict[str, Any],
    reason: str,
) -> None:
    first = {"user_id": "u", "history_item_id": ["a"], "history_rating": [3], "candidates": ["b"]}
    second = {name: value for name, value in {**first, **later}.items() if value is not None}
    path = tmp_path / "requests.jsonl"
    path.write_text(f"{json.dumps(first)}\n\n{json.dumps(second)}\n")
    assert run(server, "--requests", str(path), "--candidates", "1") == 1
    told = capsys.readouterr().err
    assert f"{path}, line 3: " in told and reason in told, told


@pytest.mark.parametrize(("out", "what"), [("a_file", "this is"), ("a_file/in/it", "a_file is")])
def test_a_folder_that_cannot_be_made_is_refused_before_anything_is_measured(
    out: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a_file").write_text("kept")
    arguments = parse("--target", "grpc://h:1", "--model", "m", "--out", str(tmp_path / out))
    assert run_command(arguments.run, arguments) == 2
    told = capsys.readouterr().err
    assert f"--out {tmp_path / out}: " in told and f"{what} a file; name a folder" in told


def test_a_limit_that_no_rate_reaches_is_reported(
    server: LocalServer, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--find-limit", "60000", "--highest-rate", "50", "--candidates", "1", "--json"]
    assert run(server, *words) == 0
    captured = capsys.readouterr()
    (limit,) = json.loads(captured.out)["limits"]
    assert (limit["candidates"], limit["rate"], limit["exceeded"]) == (1, 50, None)
    assert "up to 50 requests/s, the highest tried" in captured.err


def test_what_the_server_refuses_is_one_clear_line(
    server: LocalServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retries, "time", HastyClock())
    assert run(server, "--timeout-seconds", str(READY_SECONDS), model="other") == 1
    assert "model other" in capsys.readouterr().err


def options(*words: str) -> LoadTestOptions:
    arguments = parse("--model", "m", "--target", "grpc://127.0.0.1:1", *words)
    return section_of(arguments, LoadTestOptions)


def test_lists_are_numbers() -> None:
    read = options("--candidates", "1,10", "--rate", "0.5,20", "--made-up", "7,9")
    assert read.candidates == (1, 10)
    assert read.rate == (0.5, 20.0)
    assert read.made_up == (7, 9)


def test_a_load_test_refuses_options_without_effect() -> None:
    assert options("--find-limit", "20", "--highest-rate", "50").highest_rate == 50
    with pytest.raises(ConfigurationError, match="--highest-rate has no effect with find_limit"):
        options("--highest-rate", "50")
    with pytest.raises(ConfigurationError, match="--distinct has no effect with requests=r.jsonl"):
        options("--requests", "r.jsonl", "--distinct", "3")
    with pytest.raises(ConfigurationError, match="--positive-rating has no effect with requests"):
        options("--made-up", "10,5", "--positive-rating", "3")


def test_what_is_left_out_has_a_default() -> None:
    read = options("--warmup-seconds", "0")
    assert read.candidates == (1, 10, 100)
    assert (read.signature, read.arrivals) == ("rank", "poisson")
    assert read.find_limit is None and read.warmup_seconds == 0
    assert read.timeout_seconds == 1.0
    assert read.positive_rating is None
    assert options("--requests", "r.jsonl", "--positive-rating", "1").positive_rating == 1.0


@pytest.mark.parametrize(
    "words",
    [
        ["--rate", "0"],
        ["--rate", "10,x"],
        ["--candidates", "0"],
        ["--candidates", "1,,2"],
        ["--find-limit", "-1"],
        ["--find-limit", "5", "--rate", "10"],
        ["--signature", "classify"],
        ["--warmup-seconds", "-1"],
        ["--made-up", "10"],
        ["--made-up", "10,5", "--requests", "file"],
        ["--target", "http://127.0.0.1:8501"],
        ["--seed", "-1"],
        ["--rate", "1e20"],
        ["--highest-rate", "1e20", "--find-limit", "5"],
        ["--made-up", f"{'9' * 20},5"],
        ["--distinct", "9" * 20],
        ["--candidates", "9" * 20],
        ["--seconds", "1e10"],
    ],
)
def test_wrong_load_test_options_are_wrong_usage(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        options(*words)
    assert caught.value.code == 2
    assert words[0] in capsys.readouterr().err
