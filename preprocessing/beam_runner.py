"""Running Beam pipelines, quietly and in this process unless a runner is named."""

from __future__ import annotations

import logging
from collections.abc import Callable

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from configs.loading import ConfigurationError
from preprocessing.beam_options import BeamOptions


def run_pipeline(build: Callable[[beam.Pipeline], object], options: BeamOptions) -> None:
    """Builds a pipeline, runs it and waits for its end.

    Args:
      build: applies transforms to the pipeline.
      options: runner and options.

    Raises:
      ConfigurationError: Beam does not know the runner or refuses the options.
    """
    logging.getLogger("apache_beam").setLevel(logging.WARNING)
    # Beam's own default first tries to download a runner, so the one inside this process is named.
    runner = FnApiRunner() if options.runner is None else None
    try:
        pipeline = beam.Pipeline(runner=runner, options=PipelineOptions(options.flags))
    except (ValueError, ImportError) as error:
        raise ConfigurationError(f"Beam refuses {' '.join(options.flags)}: {error}") from error
    build(pipeline)
    pipeline.run().wait_until_finish()
