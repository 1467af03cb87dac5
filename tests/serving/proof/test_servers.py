from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from serving.proof.servers import server_loader
from tests.serving.toy_ranker import BIAS, save_toy_ranker, toy_arrays, toy_base_path


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
