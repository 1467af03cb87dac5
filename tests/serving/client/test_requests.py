"""The examples of docs/clients.md, run against the local server."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from serving.client.errors import ModelAddress, ProfileError, RankingError
from serving.client.inputs import STRINGS_WITHOUT_PROFILE, InputKind, ModelInputs, UserRequest
from serving.client.requests import (
    inputs_after_refusal,
    parse_request,
    ranking_call,
    retrieval_call,
    rows_call,
)
from serving.client.responses import Reply, highest_available, read_ranking, read_retrieved_items
from serving.server import LocalServer
from tests.serving.toy_ranker import toy_base_path, toy_score
from tests.waiting import LONGEST_SECONDS

USER = UserRequest("7", ["11"], [4.0], 1.0, 4.0, 0.7)
REFUSAL = RankingError("INVALID_ARGUMENT", "no")
IDS = {"user_id": InputKind.STRINGS, "item_id": InputKind.INTEGERS}


def test_calls_name_signature_and_outputs() -> None:
    rank = ranking_call(USER, ["5", "6"], all_tasks=False)
    assert (rank.signature_name, rank.outputs, rank.all_outputs) == ("rank", ["score"], False)
    assert ranking_call(USER, ["5"], all_tasks=True).all_outputs
    rows = rows_call([USER, USER], ["5", "6"])
    assert (rows.signature_name, rows.outputs) == ("serving_default", ["score"])
    retrieve = retrieval_call(USER)
    assert (retrieve.signature_name, retrieve.outputs) == ("top_k", ["item_id", "score"])
    assert "item_id" not in retrieve.inputs(STRINGS_WITHOUT_PROFILE)
    reply = Reply({"score": np.float32([0.5, 0.25])}, 3)
    assert rank.read(reply).version == rows.read(reply).version == 3


def test_nothing_to_rank_is_answered_at_once() -> None:
    for call in (ranking_call(USER, [], True), rows_call([], [])):
        assert call.local_response is not None
        assert call.local_response.scores.shape == (0,)
    for call in (ranking_call(USER, ["5"], True), rows_call([USER], ["5"])):
        assert call.local_response is None
    # As many users as items are needed also when there is none of the one.
    with pytest.raises(ValueError, match="1 users, 0 items"):
        rows_call([USER], []).inputs(STRINGS_WITHOUT_PROFILE)


def test_a_refused_call_is_sent_again_in_the_models_way() -> None:
    call = ranking_call(USER, ["5"], all_tasks=False)
    actual, inputs = inputs_after_refusal(call, REFUSAL, STRINGS_WITHOUT_PROFILE, IDS)
    assert actual == ModelInputs(integers=frozenset({"item_id"}))
    assert inputs["item_id"].dtype == np.int64
    # The same inputs would be refused again, for a reason that they have nothing to do with.
    with pytest.raises(RankingError) as caught:
        inputs_after_refusal(call, REFUSAL, actual, IDS)
    assert caught.value is REFUSAL


def test_what_does_not_fit_the_model_is_said_in_place_of_the_refusal() -> None:
    user = UserRequest.from_history("7", [], [], profile={"age": 30})
    call = ranking_call(user, ["5"], all_tasks=False)
    with pytest.raises(ProfileError, match="'age' is not one"):
        inputs_after_refusal(call, REFUSAL, STRINGS_WITHOUT_PROFILE, IDS)
    call = ranking_call(USER, ["tt5"], all_tasks=False)
    with pytest.raises(RankingError, match="whole numbers"):
        inputs_after_refusal(call, REFUSAL, STRINGS_WITHOUT_PROFILE, IDS)


GOOD = {
    "user_id": "42",
    "candidates": ["50", 318],
    "history_item_id": ["296", "527", "1"],
    "history_rating": [5, 3.5, 4.0],
}


def test_missing_statistics_come_from_the_history() -> None:
    user, candidates = parse_request(GOOD, positive_rating=4.0)
    assert candidates == ["50", "318"]
    assert user.history_item_id == ["296", "527", "1"]
    assert user.history_rating == [5.0, 3.5, 4.0]
    assert user.user_share_liked == pytest.approx(2 / 3)
    assert user.user_mean_rating == pytest.approx(12.5 / 3)
    assert user.user_log_count == pytest.approx(math.log(4))
    strict, _ = parse_request(GOOD, positive_rating=4.5)
    assert strict.user_share_liked == pytest.approx(1 / 3)


def test_given_statistics_win_one_by_one() -> None:
    document = GOOD | {"user_mean_rating": 3, "user_log_count": None}
    user, _ = parse_request(document, positive_rating=4.0)
    assert user.user_mean_rating == 3.0
    assert user.user_log_count == pytest.approx(math.log(4))


def test_a_history_may_be_left_out() -> None:
    user, _ = parse_request({"user_id": 7, "candidates": ["a"]}, positive_rating=4.0)
    assert (user.user_id, user.history_item_id, user.user_log_count) == ("7", [], 0.0)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"user_id": ""}, "'user_id'"),
        ({"user_id": True}, "'user_id'"),
        ({"user_id": None}, "'user_id'"),
        ({"user_id": "\ud800"}, "'user_id' is not valid Unicode"),
        ({"candidates": []}, "'candidates' is empty"),
        ({"candidates": "50"}, "'candidates' must be a list"),
        ({"candidates": ["50", 1.5]}, r"'candidates\[1\]'"),
        ({"history_item_id": {}}, "'history_item_id' must be a list"),
        ({"history_item_id": ["296", "", "1"]}, r"'history_item_id\[1\]'"),
        ({"history_rating": None}, "'history_rating' must be a list"),
        ({"history_rating": [5, "3", 4]}, r"'history_rating\[1\]' must be a finite number"),
        ({"history_rating": [5, True, 4]}, r"'history_rating\[1\]'"),
        ({"history_rating": [5, float("nan"), 4]}, r"'history_rating\[1\]'"),
        ({"history_rating": [5]}, r"'history_item_id' \(3 values\).*'history_rating' \(1 values\)"),
        ({"user_share_liked": "half"}, "'user_share_liked'"),
        ({"user_log_count": float("inf")}, "'user_log_count'"),
        ({"user_log_count": 10**400}, "'user_log_count'"),
        ({"user_log_count": 250}, "field user_log_count must be between 0 and 30"),
        ({"user_share_liked": 50}, "field user_share_liked must be between 0 and 1"),
        ({"age": 30}, "'age' is not known"),
        ({"profile": ["cook"]}, "'profile' must be an object"),
        ({"profile": {"jobs": {"cook": 1}}}, r"'profile\.jobs' must be a number, a string or"),
        ({"profile": {"jobs": ["cook", 1]}}, r"'profile\.jobs' must be a number, a string or"),
        ({"profile": {"jobs": ["\ud800"]}}, r"'profile\.jobs' is not valid Unicode"),
        ({"profile": {"age": float("nan")}}, r"'profile\.age' must be a finite number"),
        ({"profile": {"age": True}}, r"'profile\.age' must be a finite number"),
    ],
)
def test_a_malformed_field_is_named(change: dict[str, object], field: str) -> None:
    with pytest.raises(CommandError, match=field):
        parse_request(GOOD | change, positive_rating=4.0)


def test_candidates_may_be_left_out() -> None:
    user, candidates = parse_request({"user_id": 7}, positive_rating=4.0)
    assert (user.user_id, candidates) == ("7", None)


def test_a_profile_has_numbers_and_strings() -> None:
    profile = {"age": 31, "city": "Oslo", "jobs": ["cook", "pilot"], "height": None, "pets": []}
    user, _ = parse_request(GOOD | {"profile": profile}, positive_rating=4.0)
    assert user.profile == {
        "age": 31.0, "city": ["Oslo"], "jobs": ["cook", "pilot"], "height": None, "pets": [],
    }  # fmt: skip
    assert parse_request(GOOD, positive_rating=4.0)[0].profile == {}


def test_an_empty_text_of_a_profile_is_no_value() -> None:
    profile = {"city": "", "jobs": ["cook", ""]}
    user, _ = parse_request(GOOD | {"profile": profile}, positive_rating=4.0)
    assert user.profile == {"city": [], "jobs": ["cook"]}


DOCUMENTED_USER = {
    "user_id": "42",
    "history_item_id": ["296", "527"],
    "history_rating": [5.0, 3.5],
    "user_share_liked": 0.5,
    "user_mean_rating": 4.25,
    "user_log_count": 1.0986,
}
EXPECTED = [toy_score(item_id=item, **DOCUMENTED_USER) for item in ("50", "318", "858")]


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    with LocalServer({"movies": toy_base_path()}) as server:
        yield server


@pytest.fixture(scope="module")
def blocks(repository_root: Path) -> list[str]:
    """The page's indented blocks."""
    page = (repository_root / "docs" / "clients.md").read_text()
    collected = re.findall(r"(?:^(?: {4}.*)?\n)+", page, re.MULTILINE)
    lines = [[line[4:] for line in block.splitlines()] for block in collected]
    return ["\n".join(block).strip() for block in lines if any(block)]


def run_program(program: str, server: LocalServer, repository_root: Path) -> list[str]:
    program = program.replace("127.0.0.1:8500", f"127.0.0.1:{server.grpc_port}")
    program = program.replace("127.0.0.1:8501", f"127.0.0.1:{server.rest_port}")
    program = re.sub(r'("movies", (?:timeout_seconds=)?)10\b', rf"\g<1>{LONGEST_SECONDS}", program)
    # The test's server has no labels; it has version 3.
    program = program.replace('version_label="stable"', "model_version=3")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=repository_root, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_programs_print_scores(
    blocks: list[str], server: LocalServer, repository_root: Path
) -> None:
    programs = [block for block in blocks if re.match(r"(from|import) ", block)]
    assert len(programs) == 4
    rank, label, many, rest = (run_program(p, server, repository_root) for p in programs)
    assert json.loads(rank[0]) == pytest.approx(EXPECTED, abs=1e-5)
    assert json.loads(rest[0]) == pytest.approx(EXPECTED, abs=1e-5)
    version, scores = label[0].split(" ", 1)
    assert version == "3" and json.loads(scores) == pytest.approx(EXPECTED, abs=1e-5)
    assert [line.split(" ")[0] for line in many] == ["3", "3"]
    assert [len(json.loads(line.split(" ", 1)[1])) for line in many] == [2, 1]


def test_the_body_for_curl_is_ranked(blocks: list[str], server: LocalServer) -> None:
    (command,) = (block for block in blocks if block.startswith("curl -d"))
    match = re.match(r"curl -d '(?P<body>.*)' \\\n\s*(?P<url>\S+)", command, re.DOTALL)
    assert match is not None
    url = match["url"].replace("8501", str(server.rest_port))
    request = urllib.request.Request(url, match["body"].encode())
    with urllib.request.urlopen(request) as response:
        answer = json.load(response)
    assert answer["outputs"] == pytest.approx(EXPECTED, rel=1e-5)


def test_options_are_those_that_there_are(blocks: list[str]) -> None:
    from serving.client import Connection, Hedging, RankingClient, Tls

    names = {"Connection": Connection, "Hedging": Hedging, "Tls": Tls}
    lines = [block for block in blocks if block.startswith("RankingClient(")]
    assert len(lines) == 2
    for line in lines:
        for name, options in re.findall(r"(Connection|Hedging|Tls)\(([^()]*)", line):
            given = re.findall(r"(\w+)=", options)
            assert set(given) <= set(names[name].__dataclass_fields__), line
    assert "connection" in RankingClient.__init__.__annotations__


def test_a_ranking_has_tasks_and_the_version() -> None:
    outputs = {
        "score": np.float32([0.5, 0.25]),
        "score_loved": np.float32([0.1, 0.2]),
        "other": np.float32([1]),
    }
    answer = read_ranking(Reply(outputs, 4), 2)
    assert answer.scores.tolist() == [0.5, 0.25]
    assert list(answer.tasks) == ["loved"]
    assert answer.tasks["loved"].tolist() == pytest.approx([0.1, 0.2])
    assert answer.version == 4


def test_the_highest_version_answers() -> None:
    address = ModelAddress("h:1", "movies")
    assert highest_available([2, 11, 9], address) == 11
    with pytest.raises(RankingError, match="'movies' has no available version") as caught:
        highest_available([], address)
    assert caught.value.code == "NOT_FOUND"


def test_a_tasks_scores_are_checked_too() -> None:
    outputs = {"score": np.float32([0.5]), "score_loved": np.float32([np.inf])}
    with pytest.raises(RankingError, match="'score_loved' has values that are not finite"):
        read_ranking(Reply(outputs, None), 1)


@pytest.mark.parametrize(
    "ids",
    [
        np.array([[318, 50, -1, -1]], dtype=np.int64),
        np.array([[b"318", b"50", b"", b""]], dtype=object),
    ],
)
def test_retrieved_items_are_texts_and_end_where_there_are_no_more(ids: np.ndarray) -> None:
    scores = np.float32([[0.5, 0.25, 0, 0]])
    actual = read_retrieved_items(Reply({"item_id": ids, "score": scores}, 2))
    assert actual.item_ids == ["318", "50"]
    assert actual.scores.tolist() == [0.5, 0.25]
    assert actual.version == 2


def test_a_version_is_named_in_one_way() -> None:
    assert ModelAddress("h:1", "m", 3).version_label is None
    assert ModelAddress("h:1", "m", None, "stable").model_version is None
    with pytest.raises(ValueError, match="not both. Received: 3 and 'stable'"):
        ModelAddress("h:1", "m", 3, "stable")
