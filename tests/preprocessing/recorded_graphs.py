"""A Beam runner that keeps the graph which an engine would get, and then runs it here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.portable_runner import PortableRunner
from apache_beam.runners.runner import PipelineResult, PipelineRunner
from typing_extensions import override

GRAPHS: list[beam_runner_api_pb2.Pipeline] = []
"""Of all pipelines that this process has run with `RecordingRunner`."""

_WORKERS = ("--environment_type=DOCKER", "--environment_config=image")


class RecordingRunner(PipelineRunner):
    """`--runner tests.preprocessing.recorded_graphs.RecordingRunner`."""

    @override
    def run_pipeline(self, pipeline: beam.Pipeline, options: PipelineOptions) -> PipelineResult:
        # What `PortableRunner` sends to a job service.
        GRAPHS.append(PortableRunner.get_proto_pipeline(pipeline, PipelineOptions(_WORKERS)))
        return FnApiRunner().run_pipeline(pipeline, options)


@dataclass
class Needs:
    """What a graph asks of the runner.

    Attributes:
      transforms: URN of each transform that the runner cannot take apart.
      side_inputs: access patterns.
      dofns: "state", "timers", "splittable", "finalization", "stable input", "sorted input".
      requirements: URNs that the graph names itself.
      windows: URNs of window functions.
      unbounded: names of collections without end.
      ungroupable: names of collections to be grouped whose elements are no key-value pairs.
    """

    transforms: set[str] = field(default_factory=set)
    side_inputs: set[str] = field(default_factory=set)
    dofns: set[str] = field(default_factory=set)
    requirements: set[str] = field(default_factory=set)
    windows: set[str] = field(default_factory=set)
    unbounded: set[str] = field(default_factory=set)
    ungroupable: set[str] = field(default_factory=set)


def needs_of(graph: beam_runner_api_pb2.Pipeline, known: frozenset[str]) -> Needs:
    """What a graph asks of a runner.

    Args:
      graph: as a job service gets it.
      known: URNs of composite transforms which the runner does not take apart.
    """
    components = graph.components
    needs = Needs(requirements=set(graph.requirements))
    needs.windows = {
        strategy.window_fn.urn for strategy in components.windowing_strategies.values()
    }
    needs.unbounded = {
        name
        for name, collection in components.pcollections.items()
        if collection.is_bounded != beam_runner_api_pb2.IsBounded.BOUNDED
    }
    for transform in leaves(graph, known):
        urn = transform.spec.urn
        needs.transforms.add(urn)
        if urn == "beam:transform:group_by_key:v1":
            (grouped,) = transform.inputs.values()
            coder = components.coders[components.pcollections[grouped].coder_id]
            if coder.spec.urn != "beam:coder:kv:v1":
                needs.ungroupable.add(transform.unique_name)
        elif urn == "beam:transform:pardo:v1":
            payload = beam_runner_api_pb2.ParDoPayload.FromString(transform.spec.payload)
            needs.side_inputs |= {side.access_pattern.urn for side in payload.side_inputs.values()}
            asked = {
                "state": payload.state_specs,
                "timers": payload.timer_family_specs,
                "splittable": payload.restriction_coder_id,
                "finalization": payload.requests_finalization,
                "stable input": payload.requires_stable_input,
                "sorted input": payload.requires_time_sorted_input,
            }
            needs.dofns |= {name for name, value in asked.items() if value}
    return needs


def leaves(
    graph: beam_runner_api_pb2.Pipeline, known: frozenset[str]
) -> Iterator[beam_runner_api_pb2.PTransform]:
    """Transforms that have no parts, or whose parts a runner does not look at."""
    transforms = graph.components.transforms
    waiting = list(graph.root_transform_ids)
    while waiting:
        transform = transforms[waiting.pop()]
        if transform.subtransforms and transform.spec.urn not in known:
            waiting.extend(transform.subtransforms)
        elif transform.spec.urn:  # composites without parts hand on what they get
            yield transform
