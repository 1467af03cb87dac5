from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from absl import logging as absl_logging

from trainer.tfx.readiness import say_components


@pytest.fixture(autouse=True)
def _absl_restored() -> Iterator[None]:
    logger = logging.getLogger("absl")
    level, filters = absl_logging.get_verbosity(), list(logger.filters)
    yield
    absl_logging.set_verbosity(level)
    for added in [each for each in logger.filters if each not in filters]:
        logger.removeFilter(added)


def test_components_and_warnings_are_shown_and_nothing_else(
    capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    say_components()
    absl_logging.info("Component %s is running.", "Trainer")
    absl_logging.info("Component %s is finished.", "Trainer")
    absl_logging.warning("ArtifactQuery.property_predicate is not supported.")
    absl_logging.warning("filter_query is not supported - ZetaSQL dependency removed")
    absl_logging.warning("the disk is full")
    assert capsys.readouterr().err.splitlines() == ["tfx: Trainer"]
    assert [record.getMessage() for record in caplog.records] == ["the disk is full"]
