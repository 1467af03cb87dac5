from __future__ import annotations

import apache_beam as beam
import pytest
from apache_beam.testing.util import assert_that, equal_to

from configs.loading import ConfigurationError
from preprocessing.beam_options import BeamOptions
from preprocessing.beam_runner import run_pipeline


def test_a_pipeline_runs_to_its_end():
    def build(pipeline: beam.Pipeline) -> None:
        doubled = pipeline | beam.Create([1, 2]) | beam.Map(lambda number: 2 * number)
        assert_that(doubled, equal_to([2, 4]))

    run_pipeline(build, BeamOptions())


def test_a_failing_pipeline_fails_the_call():
    def build(pipeline: beam.Pipeline) -> None:
        assert_that(pipeline | beam.Create([1]), equal_to([2]))

    with pytest.raises(Exception, match="Failed assert"):
        run_pipeline(build, BeamOptions())


def test_an_unknown_runner_is_explained():
    with pytest.raises(ConfigurationError, match="NoSuchRunner"):
        run_pipeline(lambda pipeline: None, BeamOptions("NoSuchRunner"))
