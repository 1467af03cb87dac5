from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np

from serving.client.connection import Tls
from serving.client.errors import ModelAddress
from serving.client.grpc_client import predict_request
from serving.client.inputs import STRINGS_WITHOUT_PROFILE
from serving.client.requests import ranking_question
from serving.loadtest.generator import CALLS_FILE, read_calls
from serving.loadtest.plan import Phase, Plan
from serving.loadtest.worker import carry_out, main
from tests.serving.client.answering import USER
from tests.serving.loadtest.stalling import Stalling, serving
from tests.serving.server.certificates import server_credentials, write_certificates


def plan_of(target: str, tls: Tls | None = None) -> Plan:
    question = ranking_question(USER, ["x"], all_tasks=False)
    inputs = question.inputs(STRINGS_WITHOUT_PROFILE)
    request = predict_request(ModelAddress(target, "m"), question, inputs).SerializeToString()
    phases = [Phase(np.zeros(count), np.zeros(count, int), 4, 20.0) for count in (3, 2)]
    return Plan([target], [request], [0], phases, tls)


def test_what_became_of_a_plan_is_written_beside_it(tmp_path: Path) -> None:
    service = Stalling()
    with serving(service) as target:
        plan_of(target).write(tmp_path)
        main(tmp_path)
    calls = read_calls(tmp_path / CALLS_FILE, 2)
    assert [phase.answered.tolist() for phase in calls] == [[True] * 3, [True] * 2]
    assert {version for phase in calls for version in phase.versions.tolist()} == {5}
    assert [request.model_spec.name for request in service.requests] == ["m"] * 5


def test_an_encrypted_connection_shows_the_certificates(tmp_path: Path) -> None:
    write_certificates(tmp_path)
    tls = Tls(tmp_path / "authority.pem", tmp_path / "client.pem", tmp_path / "client.key")
    with serving(Stalling(), server_credentials(tmp_path)) as target:
        trusted = asyncio.run(carry_out(plan_of(target, tls)))
        plain = asyncio.run(carry_out(plan_of(target)))
    assert all(phase.answered.all() for phase in trusted)
    assert not any(phase.answered.any() for phase in plain)
