from __future__ import annotations

import json

import numpy as np
import pytest

from configs.data import Split
from configs.knowledge import Knowledge, SourceAnswers
from configs.prompting import Prompts
from preprocessing.interactions import leak_check
from preprocessing.interactions.leak_check import (
    CheckedSource,
    LeakCheck,
    PromptCheck,
    SeenPrompt,
    digest_seen_prompts,
    read_seen_prompts,
)
from preprocessing.interactions.sequences import SplitRows, split_interactions
from preprocessing.interactions.shown_entries import PromptWording, words_of
from tests.preprocessing.answers.small_files import record
from tests.preprocessing.interactions.synthetic_interactions import interaction_table, sequences_of

WORDING = PromptWording.of(Prompts(scenario="movies"), rated=True)
UNTITLED = 7


def check(
    counts: list[int],
    *prompts: SeenPrompt,
    cap: int = 2,
    split: Split | SplitRows | None = None,
    seen: str = "first_interactions",
) -> LeakCheck:
    """The check of users user0, user1, ... with so many interactions each.

    Every user's first item is film0, the next one film1 and so on; film7 has no title.
    """
    rows = [
        (f"user{user}", f"film{place:02d}", 4.0, place)
        for user, count in enumerate(counts)
        for place in range(count)
    ]
    sequences = sequences_of(interaction_table(*rows))
    if not isinstance(split, SplitRows):
        split = split_interactions(sequences, split or Split(knowledge_history_cap=cap))
    names = {
        f"film{place:02d}": [] if place == UNTITLED else [words_of(f"Film {place}")]
        for place in range(max(counts))
    }
    sources = {name: CheckedSource(pattern=" stars[;.]", seen=seen) for name in ("a", "b", "user")}
    collected = PromptCheck(sources=sources, wording=WORDING)
    return leak_check.check_leaks(sequences, split, prompts, collected, names)


def prompt(
    user: str,
    *places: int,
    source: str = "user",
    order: int = 0,
    recorded: int | None = None,
    rating: int = 4,
) -> SeenPrompt:
    """A prompt that shows the user's interactions at some places; without any, none at all."""
    history = "; ".join(f"Film {place} {rating} stars" for place in places)
    text = f"Given a user's movie rating history: {history}." if places else None
    return SeenPrompt(source, user, order, 1, text, recorded)


def test_what_prompts_show_at_or_after_k_u_are_violations():
    actual = check([6, 4, 4], prompt("user0", 0, 5), prompt("user1", 0, 1), prompt("stranger", 99))
    assert actual.violations == 1
    assert actual.users_verified_by_prompt == 1 and actual.users_by_rule_only == 2
    (example,) = actual.examples
    assert example.endswith("position 5, k_u is 2") and "user0" not in example
    assert actual.unresolved_answers == {"user": 1}


def test_the_last_interactions_are_violations_although_they_are_no_more_than_k_u():
    actual = check([6], prompt("user0", 4, 5))
    assert actual.violations == 2 and actual.users_verified_by_prompt == 0


def test_a_sample_before_the_boundary_is_a_violation_even_without_prompts():
    wrong = SplitRows(np.array([2]), np.array([-1, 0, 0, 0], np.int8), np.ones(4, bool))
    assert check([4], split=wrong).violations == 1


def test_at_most_five_examples_are_kept():
    actual = check([40], prompt("user0", *range(10, 30)), cap=0)
    assert actual.violations == 20 and len(actual.examples) == 5


def test_prompts_of_all_sources_count():
    actual = check([10], prompt("user0", 0, 3), prompt("user0", 0, 4, source="a"), cap=2)
    assert actual.violations == 2


def test_what_a_prompt_was_made_from_counts_even_if_it_shows_less():
    assert check([60], prompt("user0", 0, 1, recorded=30), cap=10).violations == 20
    assert check([60], prompt("user0", 0, 1, recorded=10), cap=10).violations == 0
    fewer = check([60], prompt("user0", 0, 1), cap=10)
    assert fewer.violations == 0 and fewer.users_verified_by_prompt == 1


def test_more_unknown_entries_than_k_u_hold_a_sample():
    unknown = prompt("user0", 90, 91, 92, 93, 94)
    assert check([12], unknown, cap=2).violations == 3
    assert check([12], unknown, cap=2).causes == {"user": {leak_check.OTHER_LOG: 1}}
    assert check([12], unknown, cap=5).violations == 0
    assert check([12], unknown, cap=5).unresolved_answers == {"user": 1}


def test_the_training_part_may_be_declared_as_seen():
    time = Split(knowledge_history_cap=0)
    assert check([10], prompt("user0", *range(7)), split=time, seen="training").violations == 0
    # Of ten samples eight are of the training part, the next one of validation.
    late = check([10], prompt("user0", 0, 8), split=time, seen="training")
    assert late.violations == 1 and late.causes == {"user": {leak_check.OTHER_SPLIT: 1}}
    verified = check([10], prompt("user0", 7 - 1, 2), split=time, seen="training")
    assert verified.users_verified_by_prompt == 1


@pytest.mark.parametrize(
    ("shown", "cap", "cause"),
    [
        (prompt("user0", 0, 1, 2), 2, leak_check.LARGER_CAP),
        (prompt("user0", *range(7), 8), 2, leak_check.LARGER_CAP),  # film7 has no title
        (prompt("user0", 0, 1, recorded=5), 2, leak_check.LARGER_CAP),
        (prompt("user0", *range(7), 8, 9, 10, 11, 12), 30, leak_check.SHORTER_LOG),
        (prompt("user0", 0, 4), 2, leak_check.LATER_TRAINING),
        (prompt("user0", 18, 19), 2, leak_check.LATER),
        (prompt("user0", 0, 90, 4), 2, leak_check.OTHER_LOG),
    ],
)
def test_violating_prompts_are_told_apart(shown, cap, cause):
    actual = check([20], shown, cap=cap)
    assert actual.violations and actual.causes == {"user": {cause: 1}}
    assert (actual.largest_reach > 0) == (cause == leak_check.LARGER_CAP)


def knowledge(**answers: dict[str, object]) -> Knowledge:
    return Knowledge.model_validate({"sources": [], "answers": answers})


def test_sources_can_be_verified_or_not():
    described = knowledge(
        item={"entity": "item", "individual": ["i"]},
        item_group={"entity": "item", "collective": ["c"], "groups": "g"},
        user={"entity": "user", "individual": ["u"], "history_entry_pattern": " stars"},
        user_unknown={"entity": "user", "individual": ["u"]},
        user_group={"entity": "user", "collective": ["c"], "groups": "g"},
        user_verified={
            "entity": "user", "collective": ["c"], "groups": "g", "groups_verified": True,
        },
        user_made_here={"entity": "user", "collective": ["c"], "grouping": {}},
        user_grouped={"entity": "user", "collective": ["c"], "grouping": {}},
        user_vectors={"entity": "user", "vectors": ["v.npz"]},
        item_vectors={"entity": "item", "vectors": ["v.npz"]},
        item_text={"entity": "item", "metadata": ["title"]},
        item_random={"entity": "item", "random": {}},
        item_rated={"entity": "item", "collaborative": {}},
        user_random={"entity": "user", "random": {}},
        user_trained={"entity": "user", "individual": ["u"], "seen": "training"},
        item_trained={"entity": "item", "vectors": ["v.npz"], "seen": "training"},
    )  # fmt: skip
    assert leak_check.checked_sources(described) == ["user"]
    assert leak_check.unverifiable_sources(described) == [
        "item_group", "item_vectors", "user_group", "user_unknown", "user_vectors",
    ]  # fmt: skip


def test_every_answer_in_use_must_have_a_prompt_whose_entries_are_known():
    def unresolved(*prompts: SeenPrompt) -> dict[str, int]:
        return check([6, 6, 1], *prompts, cap=3).unresolved_answers

    good = prompt("user0", 0, 1, 2)
    assert unresolved(good, prompt("user1", 1)) == {}
    assert unresolved(good, prompt("user1")) == {"user": 1}
    assert unresolved(good, prompt("user1", 1, rating=5)) == {"user": 1}
    both = [prompt(user, source="b") for user in ("user0", "user1")]
    assert list(unresolved(*both, prompt("user0", source="a")).items()) == [("a", 1), ("b", 2)]
    # Of a user's answers the first one is used; user2 has no sample, and stranger is none.
    assert unresolved(prompt("user0", order=1), good) == {}
    assert unresolved(prompt("user0"), prompt("user0", 0, order=1)) == {"user": 1}
    assert unresolved(good, prompt("user2"), prompt("stranger")) == {}


def test_the_configuration_declares_what_was_seen():
    described = knowledge(
        a={"entity": "user", "collective": ["c"], "groups": "g", "groups_verified": True},
        b={"entity": "user", "collective": ["c"], "groups": "g", "seen": "training"},
        c={"entity": "item", "vectors": ["v.npz"], "seen": "training"},
        d={"entity": "user", "individual": ["u"]},
    )
    assert leak_check.declared_sources(described) == {
        "a": "first_interactions", "b": "training", "c": "training",
    }  # fmt: skip
    assert leak_check.unverifiable_sources(described) == ["d"]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            {"entity": "user", "collective": ["c"], "groups": "g", "groups_verified": True},
            "leave one of them out",
        ),
        ({"entity": "item", "metadata": ["title"]}, "'metadata' is made here"),
        ({"entity": "item", "random": {}}, "'random' is made here"),
    ],
)
def test_declarations_that_cannot_be_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        knowledge(a={**source, "seen": "training"})


def test_prompts_of_accepted_answers_are_read(tmp_path):
    path = tmp_path / "answers.jsonl"
    fields = {"source": "user", "extraction": "individual", "answer": "text"}
    records = [
        {**fields, "entity_id": "a", "prompt": "x 4 stars; y 3.5 stars; z 1 stars."},
        {**fields, "entity_id": "b", "prompt": "nothing", "interactions_seen": 7},
        {**fields, "entity_id": "c"},
        {**fields, "entity_id": "d", "prompt": "x 4 stars;", "prompt_sha256": "wrong"},
    ]
    path.write_text("\n".join(map(json.dumps, records)) + "\nnot json\n")
    more = tmp_path / "more.jsonl"
    more.write_text(json.dumps({**fields, "entity_id": "a", "prompt": "x 2 stars;"}) + "\n")
    answers = SourceAnswers(entity="user", individual=[str(path), str(more)])
    batches = list(read_seen_prompts("user", answers))
    assert [tuple(prompt) for batch in batches for prompt in batch] == [
        ("user", "a", 0, 1, records[0]["prompt"], None),
        ("user", "b", 0, 2, "nothing", 7),
        ("user", "c", 0, 3, None, None),
        ("user", "a", 1, 1, "x 2 stars;", None),
    ]


def test_prompts_of_answers_with_factors_are_read_for_the_source_of_each_factor(tmp_path):
    path = tmp_path / "answers.jsonl"
    answer = record(
        "a",
        json.dumps({"genre": "likes drama", "mood": "calm"}),
        source="user",
        prompt="x 4 stars; y 3 stars;",
    )
    path.write_text(json.dumps(answer) + "\n")
    answers = SourceAnswers(entity="user", individual=[str(path)], factor="genre")
    batches = list(read_seen_prompts("user_genre", answers))
    assert batches == [[SeenPrompt("user_genre", "a", 0, 1, answer["prompt"])]]


def test_answers_of_other_sources_in_a_shared_file_are_left_out(tmp_path):
    path = tmp_path / "answers.jsonl"
    fields = {"entity_id": "a", "prompt": "x 4 stars; y 3 stars;", "answer": "text"}
    records = [
        {**fields, "source": "item", "extraction": "individual"},
        {**fields, "source": "user", "extraction": "collective"},
        {**fields, "source": "user", "extraction": "individual"},
        {**fields, "source": "user_liked", "extraction": "individual"},
    ]
    path.write_text("\n".join(map(json.dumps, records)))
    answers = SourceAnswers(
        entity="user", individual=[str(path)], collective=[str(path)], groups="groups.csv"
    )
    batches = list(read_seen_prompts("user", answers))
    assert batches == [[SeenPrompt("user", "a", 0, 3, fields["prompt"])]]


def test_digests_tell_prompts_apart_and_nothing_else(tmp_path):
    fields = {"source": "user", "extraction": "individual", "answer": "text"}
    ann = {**fields, "entity_id": "ann", "prompt": "x 4 stars; y 3 stars;"}
    bob = {**fields, "entity_id": "bob", "prompt": "x 4 stars;"}

    def digest(*files: list[dict], **described: object) -> str:
        paths = [tmp_path / f"{number}.jsonl" for number in range(len(files))]
        for path, records in zip(paths, files, strict=True):
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        individual = [str(path) for path in paths]
        answers = {"user": SourceAnswers(entity="user", individual=individual, **described)}
        return digest_seen_prompts(answers, ["user"])["user"]

    base = digest([ann, bob])
    assert digest([bob, ann]) == base
    assert digest([{**ann, "answer": "other"}, {}, bob]) == base
    others = [
        digest([ann]),
        digest([ann, bob, bob]),
        digest([ann, {**ann, "prompt": "z 4 stars;"}]),
        digest([{**ann, "prompt": "z 4 stars;"}, ann]),
        digest([ann], [bob]),
        digest([bob], [ann]),
        digest([ann, {**bob, "entity_id": "eve"}]),
        digest([ann, {**bob, "prompt": "nothing"}]),
        digest([ann, {**bob, "prompt": "z 4 stars;"}]),
        digest([ann, {**bob, "interactions_seen": 1}]),
        digest([ann, {**bob, "interactions_seen": 0}]),
        digest([]),
    ]
    assert len({base, *others}) == 1 + len(others)


def test_factors_of_the_same_answers_share_a_digest(tmp_path):
    path = tmp_path / "answers.jsonl"
    record = {"source": "user", "entity_id": "a", "extraction": "individual", "answer": "{}"}
    path.write_text(json.dumps({**record, "prompt": "x 4 stars;"}) + "\n")
    answers = {
        f"user_{factor}": SourceAnswers(entity="user", individual=[str(path)], factor=factor)
        for factor in ("genre", "mood")
    }
    digests = digest_seen_prompts(answers, answers)
    assert digests["user_genre"] == digests["user_mood"] and len(digests) == 2
