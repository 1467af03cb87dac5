from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import tensorflow as tf

from serving.protocol.messages import prediction_log_pb2
from serving.server.errors import RequestError
from serving.server.model_versions import replay_warmup
from serving.server.servable import Servable
from tests.serving.server.numbered_model import add_request, warmup_record
from tests.serving.toy_ranker import toy_base_path, toy_examples


class Recorded(Servable):
    """A servable that keeps the signatures that ran, with their rows."""

    def run(self, signature_name, inputs, output_filter=()):  # type: ignore[no-untyped-def]
        outputs = super().run(signature_name, inputs, output_filter)
        self.runs.append((signature_name, len(next(iter(inputs.values())))))
        return outputs


@pytest.fixture
def servable() -> Recorded:
    servable = Recorded("toy", 3, toy_base_path() / "3")
    servable.runs = []
    return servable


def write(folder: Path, records: list[bytes]) -> None:
    path = folder / "assets.extra" / "tf_serving_warmup_requests"
    path.parent.mkdir()
    with tf.io.TFRecordWriter(str(path)) as writer:
        for record in records:
            writer.write(record)


def example_log(kind: str, rows: int) -> bytes:
    examples = {"example_list": {"examples": toy_examples()[:rows]}}
    request = {"model_spec": {"name": "toy", "signature_name": kind}, "input": examples}
    log = prediction_log_pb2.PredictionLog(**{f"{kind}_log": {"request": request}})
    return log.SerializeToString()


def test_without_a_file_nothing_runs(servable: Recorded, tmp_path: Path) -> None:
    replay_warmup(servable, tmp_path)
    assert servable.runs == []


def test_logs_of_every_kind_of_request_run(servable: Recorded, tmp_path: Path) -> None:
    examples = add_request([], "toy", signature_name="predict_examples")
    examples.inputs.clear()
    examples.inputs["examples"].CopyFrom(
        tf.make_tensor_proto([one.SerializeToString() for one in toy_examples()])
    )
    write(
        tmp_path, [warmup_record(examples), example_log("classify", 1), example_log("regress", 2)]
    )
    replay_warmup(servable, tmp_path)
    assert servable.runs == [("predict_examples", 3), ("classify", 1), ("regress", 2)]


def test_a_request_that_fails_is_an_error(servable: Recorded, tmp_path: Path) -> None:
    write(tmp_path, [warmup_record(add_request([1.0], signature_name="rank"))])
    with pytest.raises(RequestError):
        replay_warmup(servable, tmp_path)


def test_other_logs_are_refused(servable: Recorded, tmp_path: Path) -> None:
    log = prediction_log_pb2.PredictionLog(session_run_log={})
    write(tmp_path, [log.SerializeToString()])
    with pytest.raises(RequestError, match="session_run_log"):
        replay_warmup(servable, tmp_path)


def test_too_many_requests_are_refused(servable: Recorded, tmp_path: Path) -> None:
    write(tmp_path, [example_log("regress", 1)] * 1001)
    with pytest.raises(RequestError, match="1000"):
        replay_warmup(servable, tmp_path)
    assert len(servable.runs) == 1000


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda content: content[:-7], "record 2: the record is cut off"),
        (lambda content: content[: len(content) // 2 + 5], "record 2: the record is cut off"),
        (lambda content: content[:14] + b"?" + content[15:], "record 1: the checksum of its data"),
    ],
)
def test_a_damaged_file_is_an_error_that_names_the_record(
    servable: Recorded, tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    write(tmp_path, [example_log("regress", 1)] * 2)
    path = tmp_path / "assets.extra" / "tf_serving_warmup_requests"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(tf.errors.DataLossError, match=f"{path}: {reason}"):
        replay_warmup(servable, tmp_path)
