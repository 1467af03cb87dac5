from __future__ import annotations

import functools
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.serving import NumberFormat
from serving.export import export_run
from serving.proof import proving
from serving.proof.proving import prove
from serving.proof.result import ProofError, Ways, c_api_loader, python_loader, session_loader
from serving.proof.samples import ExpectedScores, ProofSamples, draw_samples, expected_scores
from serving.proof.servers import server_loader
from tests.runs import WrittenRun, random_model, written_run
from tests.serving.exports import (
    OTHER_VARIANTS,
    RANKING_VARIANTS,
    UNPROVEN,
    Export,
    exported,
    exported_variant,
)
from tests.serving.toy_ranker import (
    BIAS,
    save_toy_ranker,
    toy_arrays,
    toy_base_path,
    toy_examples,
    toy_row_scores,
)

VARIANTS = ("linear", "prm", "two_tower")
"""Two tasks with profiles and a match, a re-ranker, and a search."""

WAYS = {"python", "session", "c_api", "grpc", "rest"}


def asked(run: WrittenRun, count: int = 24) -> tuple[ProofSamples, ExpectedScores]:
    samples = draw_samples(run.scenario, run.model, count, quality_rows=200)
    return samples, expected_scores(run.model, samples)


@functools.cache
def asked_as_written() -> tuple[ProofSamples, ExpectedScores]:
    """What is asked of `exported`."""
    return asked(written_run())


@pytest.mark.parametrize(
    "name", ["", *(pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS)]
)
def test_exports_of_every_kind_score_as_their_checkpoints_on_every_way(name: str) -> None:
    export: Export = exported_variant(name) if name else exported()
    proof = prove(export.path, *(asked(export.run) if name else asked_as_written()), "float32")
    proof.require()
    assert set(proof.to_checkpoint) == WAYS
    assert set(proof.between_loaders) == WAYS - {"python"}
    for way_differences in proof.to_checkpoint.values():
        assert set(way_differences) == set(export.result["signatures"])
    assert 0 <= proof.largest_difference <= 1e-5
    assert proof.quality is not None
    assert proof.quality.checkpoint == pytest.approx(proof.quality.export, abs=1e-3)
    assert 0 < proof.quality.checkpoint < 1


@pytest.mark.slow
@pytest.mark.parametrize("number_format", ["float16", "int8"])
@pytest.mark.parametrize("name", [*RANKING_VARIANTS, *OTHER_VARIANTS])
def test_every_kind_of_model_keeps_the_bounds_of_rounded_vectors(
    name: str, number_format: NumberFormat, tmp_path: Path
) -> None:
    run = exported_variant(name).run
    options = UNPROVEN.model_copy(update={"augmented_dtype": number_format})
    result = export_run(run.folder.path, tmp_path, options)
    proof = prove(Path(result["path"]), *asked(run), number_format, "quick")
    proof.require()
    print(f"{name}, {number_format}: {proof.largest_difference:.2g}")
    assert 0 < proof.largest_difference <= proof.bound


def test_a_signature_that_nobody_asks_is_a_failure() -> None:
    samples, expected = asked_as_written()
    (*others, last) = samples.requests
    assert last.signatures == ("rank",)
    without_rank = [request for request in others if request.signatures != ("rank",)]
    answers = expected.outputs[: len(without_rank)]
    proof = prove(
        exported().path,
        replace(samples, requests=tuple(without_rank)),
        replace(expected, outputs=answers),
        "float32",
        "quick",
    )
    assert [str(failure) for failure in proof.failures] == [
        "rank, is asked nothing, so nothing is proved"
    ]


def test_rounded_vectors_differ_within_their_bound_and_only_they_may(tmp_path: Path) -> None:
    run = written_run()
    result = export_run(
        run.folder.path, tmp_path, UNPROVEN.model_copy(update={"augmented_dtype": "int8"})
    )
    samples, expected = asked_as_written()
    proof = prove(Path(result["path"]), samples, expected, "int8", "quick")
    proof.require()
    assert set(proof.to_checkpoint) == {"python", "c_api"}
    assert 1e-5 < proof.largest_difference < proof.bound
    # Not 0 on every processor: each way optimizes the graph by itself.
    assert max(proof.between_loaders["c_api"].values()) < 1e-6
    assert prove(Path(result["path"]), samples, expected, "float32", "quick").failures


def test_another_models_scores_are_found_out() -> None:
    run = written_run()
    samples, _ = asked_as_written()
    other = expected_scores(random_model(run.scenario, seed=2), samples)
    proof = prove(exported().path, samples, other, "int8", "quick")
    failed = {(failure.way, failure.signature) for failure in proof.failures}
    signatures = ("serving_default", "predict_examples", "classify", "regress", "rank")
    assert failed == {(way, signature) for way in ("python", "c_api") for signature in signatures}
    assert proof.between_loaders["c_api"]["rank"] < 1e-6
    with pytest.raises(
        ProofError, match=r"python, serving_default, score of .* expected, .* found"
    ):
        proof.require()


def test_a_loader_that_disagrees_with_python_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def shifted_loader(folder: Path) -> Iterator[Ways]:
        with python_loader(folder) as ways:
            ask = ways["python"]
            yield {
                "shifted": lambda signature, inputs: {
                    name: values + np.float32(4e-6)
                    for name, values in ask(signature, inputs).items()
                }
            }

    monkeypatch.setitem(proving.LOADERS, "quick", (python_loader, shifted_loader))
    proof = prove(exported().path, *asked_as_written(), "float32", "quick")
    assert proof.to_checkpoint["shifted"]["rank"] < 1e-5
    assert {failure.way for failure in proof.failures} == {"shifted"}
    assert all("against the loader in Python" in failure.text for failure in proof.failures)


def test_an_export_that_cannot_be_loaded_fails_on_every_way(tmp_path: Path) -> None:
    damaged = tmp_path / "1"
    shutil.copytree(exported().path, damaged)
    (damaged / "variables" / "variables.data-00000-of-00001").write_bytes(b"cut off")
    proof = prove(damaged, *asked_as_written(), "float32")
    assert proof.quality is None
    assert {failure.way for failure in proof.failures} == {"python", "session", "c_api", "server"}
    with pytest.raises(ProofError, match="c_api, cannot be loaded"):
        proof.require()


def test_a_version_that_is_not_in_place_is_served_and_nothing_beside_it(tmp_path: Path) -> None:
    unfinished = tmp_path / ".4.unfinished"
    save_toy_ranker(unfinished, BIAS + 1)
    save_toy_ranker(tmp_path / "9", BIAS + 5)
    with server_loader(toy_base_path() / "3") as ways:
        published = {name: ask("rank", _one_user())["score"] for name, ask in ways.items()}
    with server_loader(unfinished) as ways:
        for name, ask in ways.items():
            scores = ask("rank", _one_user())["score"]
            logits = [np.log(s / (1 - s)) for s in (published[name], scores)]
            np.testing.assert_allclose(logits[0] - logits[1], 1, atol=1e-4)
    assert {path.name for path in tmp_path.iterdir()} == {".4.unfinished", "9"}


def test_a_refused_request_says_why() -> None:
    with server_loader(toy_base_path() / "3") as ways:
        for name, ask in ways.items():
            with pytest.raises(CommandError) as error:
                ask("serving_default", {"user_id": np.array([b"u"], object)})
            assert "item_id" in str(error.value), name


def test_a_proxy_of_the_environment_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with server_loader(toy_base_path() / "3") as ways:
        for ask in ways.values():
            assert ask("rank", _one_user())["score"].size == len(_toy_rows()["item_id"])


def _one_user() -> dict[str, np.ndarray]:
    arrays = _toy_rows()
    return {name: v if name == "item_id" else v[:1] for name, v in arrays.items()}


def _toy_rows() -> dict[str, np.ndarray]:
    """The toy's rows with ids as bytes."""
    return {
        name: np.array([text.encode() for text in values.ravel()], object).reshape(values.shape)
        if values.dtype == object
        else values
        for name, values in toy_arrays().items()
    }


LOADERS = {
    python_loader: {"python"},
    session_loader: {"session"},
    c_api_loader: {"c_api"},
    server_loader: {"grpc", "rest"},
}


@pytest.mark.parametrize("loader", LOADERS)
def test_every_way_gives_the_scores_of_numpy_and_strings_as_bytes(loader) -> None:
    folder = toy_base_path() / "3"
    examples = np.array([example.SerializeToString() for example in toy_examples()], object)
    texts = np.array([b"plain", "über".encode(), b"\xff\x00"], object)
    with loader(folder) as ways:
        assert set(ways) == LOADERS[loader]
        for ask in ways.values():
            answers = {
                "score": ask("serving_default", _toy_rows())["score"],
                "examples": ask("predict_examples", {"examples": examples})["score"],
                "classify": ask("classify", {"inputs": examples})["scores"][:, 0],
                "regress": ask("regress", {"inputs": examples})["outputs"],
            }
            for scores in answers.values():
                np.testing.assert_allclose(scores, toy_row_scores(), rtol=0, atol=1e-6)
            numbers = np.array([[1, 2], [3, 2**40], [5, -6]])
            inputs = {"text_bytes": texts, "numbers": numbers}
            assert ask("echo", inputs)["text_bytes"].tolist() == texts.tolist()
            np.testing.assert_array_equal(ask("echo", inputs)["doubled"], numbers * 2)


@pytest.mark.parametrize("loader", LOADERS)
def test_what_is_no_saved_model_cannot_be_loaded(loader, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=r"(?i)saved_?model"), loader(tmp_path):
        pass
