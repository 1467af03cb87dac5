from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from serving.proof.result import c_api_loader, python_loader, session_loader
from serving.proof.servers import server_loader
from tests.serving.toy_ranker import toy_arrays, toy_base_path, toy_examples, toy_row_scores

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


def _toy_rows() -> dict[str, np.ndarray]:
    """The toy's rows with ids as bytes."""
    return {
        name: np.array([text.encode() for text in values.ravel()], object).reshape(values.shape)
        if values.dtype == object
        else values
        for name, values in toy_arrays().items()
    }
