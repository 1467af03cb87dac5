"""Sentences of a model card that follow from the kind of model and its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from configs.scenario import Scenario
from preprocessing.records.contract import CTR, RERANK, RETRIEVAL

WHAT_IT_IS = {
    CTR: "A ranking model: from a user's history and a candidate item to the probability that the "
    "user likes the item.",
    RERANK: "A re-ranker: from a user's history and a list of candidates to a score of every "
    "candidate in the others' presence.",
    RETRIEVAL: "A retrieval model: from a user's history to the items with the largest inner "
    "products with the user's vector, out of the whole catalogue.",
}

INTENDED_USE = {
    CTR: "Ordering candidates that something else has chosen, for users of the service whose data "
    "it was trained on.",
    RERANK: "Ordering the short list that a ranking model has left, for users of the service whose "
    "data it was trained on.",
    RETRIEVAL: "Choosing some hundred candidates for a ranking model, for users of the service "
    "whose data it was trained on.",
}

LEAK_RULES = {
    "verified": "verified: no sample is among the interactions that the LLM may have seen; where "
    "prompts are about users, the leak check found every interaction that they show",
    "declared": "declared: the configuration says that the groups were built from interactions "
    "before the samples only (groups_verified), which nothing checks",
    "declared_training": "declared: the configuration says that the answers were made from the "
    "training part (seen: training). Training samples were seen by the LLM; only validation and "
    "test samples are held to the leak rule",
    "unverified": "unverified: nothing shows that its answers or groups were made without the "
    "interactions that the model is judged on, so the metrics below may be too good",
}


def limits(scenario: Scenario, kind: str) -> list[str]:
    """What the model is not good for."""
    found = [
        _judged_on(scenario, kind),
        "Users it has never seen are served by their history alone, unless they have knowledge; "
        "users without history, knowledge and profile all get the same scores.",
        "Items that were not in the training data share a default embedding and are told apart by "
        "their attributes and their knowledge only; the slice cold_item says how well.",
        "It does not know anything that happened after the data ends; requests bring the history "
        "up to date, and nothing else does.",
    ]
    if kind == CTR:
        found.append(
            "Scores are probabilities on data like the training data. Other shares of positive "
            "interactions, other surfaces and other times need a calibration of their own."
        )
    if kind == RERANK and scenario.training.list_loss == "listwise":
        found.append(
            "It was trained listwise: a score is a share of its list, no probability, and scores "
            "of different lists cannot be compared."
        )
    if scenario.training.class_weights[0] != scenario.training.class_weights[1]:
        found.append("It was trained with class weights, so its scores are not calibrated.")
    if scenario.knowledge_sources():
        found.append(
            "Its knowledge was written by a language model, which can be wrong, out of date, or "
            "biased about people, works and places; nobody is known to have checked every answer."
        )
    return found


def _judged_on(scenario: Scenario, kind: str) -> str:
    """What the metrics are about: items that users came to see, or drawn ones beside them."""
    negatives = scenario.data.negatives
    drawn = "every item alike" if negatives.by == "uniform" else "by popularity"
    if kind == CTR and negatives.per_positive:
        beside = f"sampled negatives ({negatives.per_positive} for each positive sample, {drawn})"
    elif kind == RERANK:
        beside = "sampled items, which fill up the lists (every item alike)"
    else:
        return (
            "It was judged offline, on logged interactions. Those are of items that users came to "
            "see, so the metrics do not say how users would react to other orders."
        )
    return (
        f"It was judged offline, on logged interactions and {beside}. Nobody knows whether the "
        "users ever saw the sampled items, so the metrics say how well what users took is told "
        "from what was drawn, not how users would react to other orders."
    )


def privacy(scenario: Scenario, kind: str, knowledge: Mapping[str, Any]) -> list[str]:
    """What the export holds about people.

    Args:
      scenario: the run's.
      kind: of the model.
      knowledge: `serving.model_card.knowledge.knowledge_facts`.
    """
    found = [
        "The SavedModel holds the raw ids of all items, which a search answers with."
        if kind == RETRIEVAL
        else "The SavedModel holds no raw ids of items but a 63-bit hash (FarmHash) of each, which "
        "whoever has the ids can compute again.",
        "Beside them are the items' attributes and statistics of their ratings, as counts and "
        "means over users.",
        "It holds no interaction of anybody, no titles, no prompts and no answer; the warm-up "
        "requests have empty ids.",
    ]
    users = [name for name, facts in knowledge.items() if facts["entity"] == "user"]
    if users:
        found += [
            f"Of the users who have user knowledge ({', '.join(users)}) it holds no raw ids but a "
            "63-bit hash of each, with vectors that were computed from an LLM's answer about the "
            "user or the user's group. Whoever has a user's id can compute the hash again and look "
            "the vectors up. They are data about persons: who may read the folder, and for how "
            "long it is kept, is to be decided as for the log itself.",
            "To take a user out, remove the answer, run 'python -m preprocessing encode' and "
            "export a newly trained run; a version folder cannot be edited.",
        ]
    else:
        found.append("It holds no user ids, neither raw nor hashed.")
    if knowledge:
        found.append(
            f"assets.extra/refresh/ says of every item{' and of these users' if users else ''} "
            "whether there is an answer, of the item's or user's own or of a group, of which group "
            "(ids of groups stand there as they are in the data), and has a hash of the vector; "
            "and it holds the trained functions."
        )
    fitted = [
        name for name, facts in knowledge.items() if (facts["encoder"] or {}).get("kind") == "tfidf"
    ]
    if fitted:
        found.append(
            f"It also holds the terms of the TF-IDF encoder ({', '.join(fitted)}): words that the "
            "encoded texts use, each with how rare it is."
        )
    if scenario.data.profiles is not None and scenario.model.user_profile:
        names = ", ".join(scenario.data.profiles.attributes)
        found.append(
            f"Requests carry what is known of the user's profile ({names}), whose values known at "
            "training stand in the graph; whether these may be used to rank is for the operator to "
            "decide. The slices of profile attributes of 'python -m trainer evaluate --slices all' "
            "show differences between groups."
        )
    return found
