from __future__ import annotations

import json

import pytest

from configs.loading import ConfigurationError
from configs.training import Training
from trainer.distribution.cluster import Cluster, cluster_of, require_one_process

A, B, C, D = "a:1", "b:2", "[::1]:3", "d.example.com:4"
RING = {"worker": [A, B, C]}
WITH_CHIEF = {"chief": [D], "worker": [A, B]}
SERVERS = {"chief": [A], "worker": [B, C], "ps": [D]}


def config_of(cluster: object, job: object = "worker", index: object = 0) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": index}})


def read(monkeypatch: pytest.MonkeyPatch, distribution: str, text: str | None) -> Cluster | None:
    if text is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", text)
    return cluster_of(Training(distribution=distribution))


@pytest.mark.parametrize("distribution", ["none", "mirrored"])
def test_one_process_needs_no_cluster(monkeypatch: pytest.MonkeyPatch, distribution: str) -> None:
    assert read(monkeypatch, distribution, "not even JSON") is None


@pytest.mark.parametrize(
    ("cluster", "job", "index", "position", "is_chief"),
    [
        (RING, "worker", 0, 0, True),
        (RING, "worker", 2, 2, False),
        (RING, "worker", "1", 1, False),
        (WITH_CHIEF, "chief", 0, 0, True),
        (WITH_CHIEF, "worker", 0, 1, False),
        (WITH_CHIEF, "worker", 1, 2, False),
        ({"worker": [A]}, "worker", 0, 0, True),
        ({"chief": [A], "worker": []}, "chief", 0, 0, True),
    ],
)
def test_places_in_a_ring(
    monkeypatch: pytest.MonkeyPatch,
    cluster: dict[str, list[str]],
    job: str,
    index: object,
    position: int,
    is_chief: bool,
) -> None:
    actual = read(monkeypatch, "multi_worker", config_of(cluster, job, index))
    assert actual is not None and not actual.is_server
    assert (actual.trainer_index, actual.is_chief) == (position, is_chief)
    assert actual.trainers == sum(map(len, cluster.values()))
    assert actual.name == f"{job} {index}"


@pytest.mark.parametrize(
    ("job", "index", "is_server"),
    [("chief", 0, False), ("worker", 0, True), ("worker", 1, True), ("ps", 0, True)],
)
def test_places_among_parameter_servers(
    monkeypatch: pytest.MonkeyPatch, job: str, index: int, is_server: bool
) -> None:
    actual = read(monkeypatch, "parameter_server", config_of(SERVERS, job, index))
    assert actual is not None
    assert (actual.is_server, actual.is_chief, actual.chief) == (is_server, not is_server, A)
    assert actual.tasks == {job: tuple(addresses) for job, addresses in SERVERS.items()}


@pytest.mark.parametrize(
    ("distribution", "text", "reason"),
    [
        ("multi_worker", None, "is not set"),
        ("multi_worker", "", "is not set"),
        ("multi_worker", "{'cluster': 1}", "not valid JSON"),
        ("multi_worker", "[]", "must be a JSON object"),
        ("multi_worker", '{"task": {"type": "worker", "index": 0}}', "all processes in 'cluster'"),
        ("multi_worker", json.dumps({"cluster": RING}), "in 'task' which process this is"),
        ("multi_worker", config_of(RING, "chief"), "task.type 'chief', and 'cluster' has worker"),
        ("multi_worker", config_of(RING, "worker", 3), "task.index 3, and 'cluster' has 3"),
        ("multi_worker", config_of(RING, "worker", -1), "task.index -1; expected a whole number"),
        ("multi_worker", config_of(RING, "worker", None), "task.index None"),
        ("multi_worker", config_of({"worker": A}), 'cluster.worker as a list of "host:port"'),
        ("multi_worker", config_of({"worker": ["a"]}), 'cluster.worker as a list of "host:port"'),
        ("multi_worker", config_of({"worker": ["a:"]}), 'cluster.worker as a list of "host:port"'),
        ("multi_worker", config_of({"worker": [A, A]}), "the address a:1 twice"),
        ("multi_worker", config_of({"worker": []}), "at least one 'worker'"),
        ("multi_worker", config_of(SERVERS), "a job 'ps' in 'cluster'; there are chief, worker"),
        ("multi_worker", config_of({"chief": [A, B], "worker": [C]}), "more than one chief"),
        ("multi_worker", config_of({"evaluator": [A]}), "a job 'evaluator'"),
        ("parameter_server", config_of(RING), "at least one 'chief'"),
        ("parameter_server", config_of(WITH_CHIEF), "at least one 'ps'"),
        ("parameter_server", config_of({"chief": [A], "ps": [B]}, "ps"), "at least one 'worker'"),
    ],
)
def test_what_is_wrong_is_named_with_an_example(
    monkeypatch: pytest.MonkeyPatch, distribution: str, text: str | None, reason: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(monkeypatch, distribution, text)
    message = str(caught.value)
    assert message.startswith(f"training.distribution={distribution}: ")
    assert reason in message
    example = message.split("TF_CONFIG='")[1].split("'")[0]
    assert read(monkeypatch, distribution, example) is not None


@pytest.mark.parametrize("distribution", ["multi_worker", "parameter_server"])
def test_strategies_of_several_processes_are_refused(distribution: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        require_one_process(Training(distribution=distribution), "a search runs")
    assert f"training.distribution '{distribution}': a search runs one process" in str(caught.value)


@pytest.mark.parametrize("distribution", ["none", "mirrored"])
def test_one_process_is_enough_for_the_others(distribution: str) -> None:
    require_one_process(Training(distribution=distribution), "a search runs")
