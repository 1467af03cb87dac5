from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from preprocessing.generation.generate import is_version_of
from preprocessing.prompting.step import build_prompts
from tests.preprocessing.answers.small_files import read_lines
from tests.preprocessing.generation.chat_server import (
    KEY,
    Call,
    Reply,
    chat_server,
    completion,
    echo,
)
from tests.preprocessing.generation.generate_command import endpoint, fast_retries, generate

pytestmark = pytest.mark.usefixtures("key_in_the_environment")


def test_every_prompt_is_answered_once_and_in_order(capsys, prompt_file, tmp_path):
    texts = ["Alien", "Brazil", "Alien", "Casablanca"]
    prompts = prompt_file(texts)
    with chat_server(echo) as server:
        options = endpoint(
            server, "--price-input", "1", "--price-output", "2", "--concurrency", "2"
        )
        code, summary, err = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 0
        assert summary["answered"] == 4 and summary["calls"] == summary["distinct_prompts"] == 3
        assert summary["tokens"] == {
            "prompt": 21,
            "completion": 15,
            "total": 36,
            "calls_with_estimated_tokens": 0,
        }
        assert summary["cost_usd"] == pytest.approx((21 * 1 + 15 * 2) / 1e6)
        assert "36 tokens" in err and server.most_at_once <= 2
        assert {call.authorization for call in server.seen} == {f"Bearer {KEY}"}
        first = (tmp_path / "out" / "answers.jsonl").read_bytes()

        code, again, _ = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 0 and again["calls"] == 0 and again["tokens"]["total"] == 0
        assert dict(server.calls) == {"Alien": 1, "Brazil": 1, "Casablanca": 1}
    assert (tmp_path / "out" / "answers.jsonl").read_bytes() == first
    records = read_lines(tmp_path / "out" / "answers.jsonl")
    assert [record["answer"] for record in records] == [f"About {text}" for text in texts]
    assert records[1] == {
        "custom_id": "item/1",
        "source": "item",
        "entity_id": "1",
        "extraction": "individual",
        "model": "toy-2026",
        "asked_model": "toy",
        "prompt": "Brazil",
        # sha256sum of the six bytes
        "prompt_sha256": "07f62b021771d3cf67e2e1faf18769cc5e5c119ad7d4d1847a11e11d6d5a7ecb",
        "answer": "About Brazil",
        "usage": {"prompt_tokens": 7, "completion_tokens": 5, "total_tokens": 12},
    }


def test_the_model_that_answered_is_named_counted_and_warned_about(capsys, prompt_file, tmp_path):
    reported = {"Alien": "toy", "Brazil": "mini", "Casablanca": "mini", "Dune": None, "Eraser": 3}

    def behave(call: Call) -> Reply:
        return completion("A film.", model=reported[call.prompt])

    prompts = prompt_file(reported)
    with chat_server(behave) as server:
        code, summary, err = generate(capsys, prompts, tmp_path / "out", *endpoint(server))
    assert code == 0 and summary["model"] == "toy"
    assert summary["models"] == {"mini": 2, "toy": 3}
    assert "warning: toy was asked" in err and "2 by mini" in err
    records = read_lines(tmp_path / "out" / "answers.jsonl")
    assert [(record["model"], record.get("asked_model")) for record in records] == [
        ("toy", None), ("mini", "toy"), ("mini", "toy"), ("toy", None), ("toy", None),
    ]  # fmt: skip

    answers = str(tmp_path / "out" / "answers.jsonl")
    for model, expected in (("toy", 5), ("mini", 2)):
        _, replayed, _ = generate(
            capsys, prompts, tmp_path / model, "--client", "replay", "--replay", answers,
            "--model", model,
        )  # fmt: skip
        assert replayed["answered"] == expected


@pytest.mark.parametrize(
    ("asked", "answered", "expected"),
    [
        ("gpt-4o-mini", "gpt-4o-mini", True),
        ("gpt-4o-mini", "gpt-4o-mini-2024-07-18", True),
        ("gpt-4", "gpt-4-0613", True),
        ("openai/GPT-4o", "gpt-4o", True),
        ("llama", "/models/Llama", True),
        ("gpt-4o", "gpt-4o-mini", False),
        ("gpt-4o", "gpt-4", False),
        ("gpt-4", "gpt-40613", False),
        ("gpt-4o-mini", "2024", False),
    ],
)
def test_a_date_or_a_folder_makes_no_other_model(asked, answered, expected):
    assert is_version_of(asked, answered) is expected


def test_other_parameters_are_other_answers(capsys, prompt_file, tmp_path):
    prompts = prompt_file(["Alien"])
    with chat_server(echo) as server:
        for options in (
            [],
            ["--temperature", "1"],
            ["--max-tokens", "9"],
            ["--model", "other"],
            [],
        ):
            generate(capsys, prompts, tmp_path / "out", *endpoint(server), *options)
        assert [
            (call.body["model"], call.body["temperature"], call.body["max_tokens"])
            for call in server.seen
        ] == [("toy", 0.0, 512), ("toy", 1.0, 512), ("toy", 0.0, 9), ("other", 0.0, 512)]


def test_a_budget_stops_before_it_is_exceeded(capsys, prompt_file, tmp_path):
    prompts = prompt_file(f"film {number:02d}" for number in range(12))
    with chat_server(echo) as server:
        # A call may spend 2 + 4 + 20 tokens and spends 12: after 5 calls 60 + 26 exceed 80.
        options = endpoint(server, "--max-tokens", "20", "--budget-tokens", "80")
        code, summary, err = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 0 and summary["stopped"] == "budget"
        assert (summary["answered"], summary["not_attempted"]) == (5, 7)
        assert "7 prompts were not attempted" in err
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *options, "--strict")
        assert code == 3 and summary["answered"] == 10 and server.calls.total() == 10

        # $2 per million answer tokens: $0.00007 pays for 35 tokens, two calls of at most 20.
        dollars = endpoint(
            server, "--max-tokens", "20", "--budget-usd", "0.00007", "--price-input", "0",
            "--price-output", "2", "--temperature", "1",
        )  # fmt: skip
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *dollars)
        assert code == 0 and summary["stopped"] == "budget" and summary["cost_usd"] <= 0.00007
        assert summary["calls"] == 4  # 5 spent by each; the fifth could reach 40


def test_a_budget_below_one_call_fails(capsys, prompt_file, tmp_path):
    prompts = prompt_file(["Alien", "Brazil"])
    with chat_server(echo) as server:
        options = endpoint(server, "--max-tokens", "20", "--budget-tokens", "25")
        code, _, err = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 1 and server.calls.total() == 0
        assert "raise generation.budget_tokens" in err and "Another run" not in err
        # 2 + 4 + 20 may be spent.
        options[-1] = "26"
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 0 and summary["answered"] == 1


def test_fewer_answers_than_before_are_told(capsys, prompt_file, tmp_path):
    prompts = prompt_file(["Alien", "Brazil"])
    with chat_server(echo) as server:
        options, out = endpoint(server), tmp_path / "out"
        _, _, err = generate(capsys, prompts, out, *options)
        assert "answers.jsonl had" not in err
        others = [*options, "--max-tokens", "30", "--budget-tokens", "36"]
        _, _, err = generate(capsys, prompts, out, *others)
        assert "answers.jsonl had 2 answers and has 1 now" in err
        calls = server.calls.total()
        _, summary, err = generate(capsys, prompts, out, *options)
        assert summary["answered"] == 2 and server.calls.total() == calls
        assert "answers.jsonl had" not in err


def test_structured_answers_have_one_field_per_factor(capsys, prompt_file, tmp_path):
    schema = tmp_path / "schema.json"
    document = {
        "type": "object",
        "properties": {"genre": {"type": "string"}, "mood": {"type": "string"}},
        "required": ["genre", "mood"],
        "additionalProperties": False,
    }
    schema.write_text(json.dumps(document))
    answers = {
        "good": '{"mood": "tense", "genre": "horror"}',
        "prose": "It is a horror film.",
        "half": '{"genre": "horror"}',
        "more": '{"genre": "horror", "mood": "tense", "age": "12"}',
        "number": '{"genre": 3, "mood": "tense"}',
    }
    prompts = prompt_file(answers)
    with chat_server(lambda call: completion(answers[call.prompt])) as server:
        options = endpoint(server, "--json-schema", str(schema))
        code, summary, _ = generate(capsys, prompts, tmp_path / "out", *options)
        assert code == 0 and summary["rejected_by_reason"] == {"schema_mismatch": 4}
        assert server.calls == {"good": 1, "prose": 2, "half": 2, "more": 2, "number": 2}
        assert server.seen[0].body["response_format"] == {
            "type": "json_schema",
            "json_schema": {"name": "factors", "strict": True, "schema": document},
        }
    (record,) = read_lines(tmp_path / "out" / "answers.jsonl")
    assert record["factors"] == {"genre": "horror", "mood": "tense"}
    assert record["answer"] == "genre: horror\nmood: tense"


def test_prompts_that_ask_for_names_bring_their_schema(capsys, tmp_path, small_scenario):
    later = {"individual": ["later.jsonl"]}
    scenario = small_scenario(
        prompts__scenario="movies",
        knowledge__answers__item={"entity": "item", **later, "factor": "text"},
        knowledge__answers__item_links={"entity": "item", **later, "factor": "links", "links": {}},
        knowledge__answers__groups={
            "entity": "item",
            "collective": ["later.jsonl"],
            "groups": str(tmp_path / "groups.csv"),
            "links": {},
        },
    )
    prompts = tmp_path / "prompts.jsonl"
    build_prompts(scenario, sources=["item", "groups"], out=prompts)
    text = "A quiet film about a family. It is well made."
    answers = {
        "10": {"text": text, "links": ["Seven", "Ten (1999)", "seven"]},
        "9": {"text": text, "links": ["Hundred", "N/A"]},
        "7": {"text": text, "links": "Ten"},
        "200": {"text": text, "links": ["Nine, the film"]},
        "g1": {"links": {"1": ["Seven"], "3": ["Seven"]}},
        "g2": {"links": {"Ten": ["Seven"]}},
    }
    said = {
        record["prompt"]: json.dumps(answers.get(record["entity_id"], "I would not know."))
        for record in read_lines(prompts)
    }
    out = tmp_path / "out"
    with chat_server(lambda call: completion(said[call.prompt])) as server:
        code, summary, err = generate(capsys, str(prompts), out, *endpoint(server))
        assert code == 0
        formats = [call.body["response_format"]["json_schema"] for call in server.seen]
        assert {schema["strict"] for schema in formats} == {True}
        assert {tuple(schema["schema"]["properties"]) for schema in formats} == {
            ("text", "links"), ("links",),
        }  # fmt: skip
        assert summary["rejected_by_reason"] == {"no_list": 1, "schema_mismatch": 2}
    assert summary["names"] == {
        "lists": 4, "names": 7, "usable": 4,
        "dropped": {"no_name": 1, "repeated_name": 1, "self_mention": 1}, "members_left_out": 1,
    }  # fmt: skip
    assert "names: 7 in 4 lists, 4 of use; dropped: 1 no_name" in err
    written = {record["entity_id"]: record for record in read_lines(out / "answers.jsonl")}
    assert list(written) == ["10", "9", "200", "g1"]
    assert written["10"]["answer"] == f"text: {text}"
    assert written["10"]["factors"] == answers["10"]
    assert json.loads(written["g1"]["answer"]) == answers["g1"] and "factors" not in written["g1"]
    assert written["g1"]["members"] == ["10", "100"]


def test_dry_run_calls_and_writes_nothing(capsys, prompt_file, tmp_path):
    prompts = prompt_file(["Alien", "Brazil", "Alien"])
    with chat_server(echo) as server:
        options = endpoint(
            server, "--max-tokens", "10", "--price-input", "1", "--price-output", "1"
        )
        code, result, err = generate(capsys, prompts, tmp_path / "out", *options, "--dry-run")
        assert not server.calls
        assert code == 0 and not (tmp_path / "out").exists()
        generate(capsys, prompts, tmp_path / "out", *options)
        _, later, _ = generate(capsys, prompts, tmp_path / "out", *options, "--dry-run")
        assert later["calls"] == 0 and server.calls.total() == 2
    # Alien is 2 tokens, Brazil 2, and 4 for each message. An answer that is no use is asked twice.
    assert (result["calls"], result["prompt_tokens_estimate"]) == (2, 12)
    assert result["cost_usd_at_most"] == pytest.approx(64 / 1e6) and "at most 40" in err


def test_dry_run_counts_requests_whose_batches_are_forgotten(capsys, prompt_file, tmp_path):
    prompts = prompt_file(["Alien", "Brazil"])
    words = ["--client", "batch-file", "--model", "m", "--price-input", "1", "--price-output", "1"]
    generate(capsys, prompts, tmp_path / "out", *words)
    _, waiting, _ = generate(capsys, prompts, tmp_path / "out", *words, "--dry-run")
    assert (waiting["calls"], waiting["waiting_for_batch"]) == (0, 2)
    forgetting = [*words, "--forget-batches"]
    _, planned, _ = generate(capsys, prompts, tmp_path / "out", *forgetting, "--dry-run")
    assert (planned["calls"], planned["waiting_for_batch"]) == (2, 0)
    assert planned["cost_usd_at_most"] > 0
    _, written, _ = generate(capsys, prompts, tmp_path / "out", *forgetting)
    assert written["batch_requests"] == 2


def test_results_of_other_parameters_are_told(capsys, prompt_file, tmp_path):
    prompts, out = prompt_file(["Alien", "Brazil"]), tmp_path / "out"
    words = ["--client", "batch-file", "--model", "m"]
    generate(capsys, prompts, out, *words)
    (file,) = (out / "batch").iterdir()
    results = tmp_path / "results.jsonl"
    with results.open("w") as lines:
        for request in read_lines(file):
            response = {"status_code": 200, "body": json.loads(completion("About it").body)}
            line = {"custom_id": request["custom_id"], "response": response, "error": None}
            lines.write(json.dumps(line) + "\n")
    reading = [*words, "--read-batch", str(results)]
    code, summary, err = generate(capsys, prompts, out, *reading, "--temperature", "0.5")
    assert code == 0 and summary["answered"] == 0
    assert f"2 lines of {results} are unknown_request" in err
    assert "the very command that wrote the requests" in err and "write requests" not in err
    code, summary, err = generate(capsys, prompts, out, *reading)
    assert summary["answered"] == 2 and "unknown_request" not in err


@pytest.mark.parametrize(
    ("client", "option"), [("replay", "--replay"), ("batch-file", "--read-batch")]
)
def test_files_of_answers_cost_nothing(client, option, capsys, prompt_file, tmp_path):
    (tmp_path / "answers.jsonl").write_text("")
    prompts = prompt_file(["Alien", "Brazil", "Alien"])
    words = ["--client", client, "--model", "m", "--price-input", "1", "--price-output", "1"]
    if client == "batch-file":
        generate(capsys, prompts, tmp_path / "out", *words)
    words += [option, str(tmp_path / "answers.jsonl"), "--dry-run"]
    code, result, err = generate(capsys, prompts, tmp_path / "out", *words)
    assert (code, result["calls"], result["cost_usd_at_most"]) == (0, 0, 0)
    assert "would look for 2 answers to 3 prompts in the files" in err and "at most" not in err


def test_prompts_of_one_text_have_one_form(capsys, prompt_file, tmp_path):
    """The first one's; an answer to it is none to another question."""
    path = Path(prompt_file(["Heat?"] * 4))
    lines = read_lines(path)
    for line, factor in zip(lines, ("genre", "mood", None, "genre"), strict=True):
        if factor is not None:
            properties = {factor: {"type": "string"}}
            line["json_schema"] = {"type": "object", "properties": properties}
    path.write_text("\n".join(map(json.dumps, lines)))
    with chat_server(lambda call: completion('{"genre": "drama"}')) as server:
        code, summary, _ = generate(capsys, str(path), tmp_path / "out", *endpoint(server))
    assert (code, summary["answered"], summary["calls"]) == (0, 2, 1)
    assert summary["rejected_by_reason"] == {"other_schema": 2}
    letters = read_lines(tmp_path / "out" / "dead_letters.jsonl")
    assert [letter["line"] for letter in letters] == [2, 3]
    assert all("line 1 has the same text with another" in letter["detail"] for letter in letters)


def test_batch_files_there_and_back(capsys, prompt_file, tmp_path):
    texts = [f"film {number}" for number in range(5)]
    prompts, out = prompt_file([*texts, "film 0"]), tmp_path / "out"
    options = ["--client", "batch-file", "--model", "toy"]
    small_files = fast_retries(tmp_path / "c.yaml", requests_per_batch_file=2)
    code, summary, said = generate(capsys, prompts, out, *options, *small_files)
    assert code == 0 and summary["not_attempted"] == 6 and summary["batch_requests"] == 5
    assert summary["waiting_for_batch"] == 6 and "still wait" not in said
    files = sorted((out / "batch").iterdir())
    assert [len(read_lines(path)) for path in files] == [2, 2, 1]
    requests = [line for path in files for line in read_lines(path)]
    assert [request["body"]["messages"][0]["content"] for request in requests] == texts
    assert {(request["method"], request["url"]) for request in requests} == {
        ("POST", "/v1/chat/completions")
    }
    assert all("item" not in request["custom_id"] for request in requests)

    # What waits for its result is asked by no client.
    code, summary, _ = generate(capsys, prompts, out, *options, *small_files)
    assert summary["batch_requests"] == 0 and sorted((out / "batch").iterdir()) == files

    def result(request: dict, body: object, status: int = 200) -> str:
        response = {"status_code": status, "request_id": "r", "body": body}
        return json.dumps({"id": "b", "custom_id": request["custom_id"], "response": response,
                           "error": None})  # fmt: skip

    bodies = [json.loads(completion(f"About {text}").body) for text in texts]
    expired = {"code": "batch_expired", "message": "This request could not be executed"}
    lines = [
        result(requests[1], bodies[1]),
        result(requests[0], bodies[0]),
        result(requests[2], {"error": {"message": "overloaded"}}, status=500),
        json.dumps({"custom_id": requests[3]["custom_id"], "response": None, "error": expired}),
        result({"custom_id": "item/318"}, bodies[0]),
        "{",
    ]
    results = tmp_path / "results.jsonl"
    results.write_text("\n".join(lines))
    reading = [*options, "--read-batch", str(results)]
    code, summary, said = generate(capsys, prompts, out, *reading)
    assert (summary["answered"], summary["rejected"], summary["not_attempted"]) == (3, 2, 1)
    assert summary["waiting_for_batch"] == 1
    assert "1 prompts still wait for a batch result" in said and "--forget-batches" in said
    assert "have no answer" not in said
    assert summary["rejected_by_reason"] == {"failed_request": 2}
    assert summary["batch_results"] == {
        "read": 6, "stored": 2, "failed": 2, "already_read": 0, "not_needed": 0, "rejected": 2,
    }  # fmt: skip
    letters = [
        (letter["line"], letter["reason"])
        for letter in read_lines(out / "dead_letters.jsonl")
        if letter["file"] == str(results)
    ]
    assert letters == [(5, "unknown_request"), (6, "malformed_json")]
    assert [record["answer"] for record in read_lines(out / "answers.jsonl")] == [
        "About film 0", "About film 1", "About film 0",
    ]  # fmt: skip

    code, summary, said = generate(capsys, prompts, out, *reading)
    assert summary["batch_results"]["already_read"] == 4 and summary["tokens"]["total"] == 0
    assert (summary["not_attempted"], summary["waiting_for_batch"]) == (3, 1)
    assert "2 prompts wait for no batch result and have no answer" in said

    # Failed requests are written again, the waiting one only when its batch is forgotten.
    code, summary, _ = generate(capsys, prompts, out, *options)
    assert summary["batch_requests"] == 2
    code, summary, _ = generate(capsys, prompts, out, *options, "--forget-batches")
    assert summary["batch_requests"] == 3
    files = sorted((out / "batch").iterdir())
    assert len(files) == 5

    # All results there are, in any order: of each request that which belongs to it.
    last = [
        result(request, json.loads(completion(request["body"]["messages"][0]["content"]).body))
        for request in read_lines(files[-1])
    ]
    last_results = tmp_path / "last.jsonl"
    last_results.write_text("\n".join(last))
    code, summary, _ = generate(capsys, prompts, out, *reading, "--read-batch", str(last_results))
    assert code == 0 and summary["answered"] == 6
    assert summary["batch_results"] == {
        "read": 9, "stored": 3, "failed": 0, "already_read": 4, "not_needed": 0, "rejected": 2,
    }  # fmt: skip


def test_replay_takes_answers_by_prompt_hash(capsys, prompt_file, repository_root, tmp_path):
    bundled = repository_root / "examples/movielens_small/answers/item_individual.jsonl.gz"
    with gzip.open(bundled, "rt", encoding="utf-8") as file:
        known = [json.loads(next(file)) for _ in range(20)]
    prompts = prompt_file([record["prompt"] for record in known] + ["nobody asked this"])
    replaying = ["--client", "replay", "--replay", str(bundled)]
    code, summary, _ = generate(capsys, prompts, tmp_path / "out", *replaying)
    assert code == 0 and (summary["answered"], summary["not_attempted"]) == (20, 1)
    assert summary["calls"] == 0 and summary["replay"]["taken"] == 20
    replayed = read_lines(tmp_path / "out" / "answers.jsonl")
    assert [record["answer"] for record in replayed] == [record["answer"] for record in known]
    assert {record["model"] for record in replayed} == {"claude"}

    code, summary, _ = generate(capsys, prompts, tmp_path / "o2", *replaying, "--model", "gpt")
    assert code == 0 and summary["answered"] == 0
