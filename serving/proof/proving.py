"""Proves that an export scores as its checkpoint does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from preprocessing.records.contract import ITEM_ID
from serving.proof.result import (
    LOADER_BOUND,
    SCORE_BOUNDS,
    Ask,
    Gap,
    Proof,
    ProofFailure,
    Quality,
    Ways,
    c_api_loader,
    compare_quality,
    largest_gap,
    python_loader,
    session_loader,
)
from serving.proof.samples import ExpectedScores, ProofSamples, SignatureForms

Loader = Callable[[Path], AbstractContextManager[Ways]]
Outputs = list[dict[str, Mapping[str, np.ndarray]]]

_LONGEST_REASON = 300


def server_loader(folder: Path) -> AbstractContextManager[Ways]:
    """`serving.proof.servers.server_loader`, whose packages the environment of TFX lacks."""
    from serving.proof import servers

    return servers.server_loader(folder)


_QUICK: tuple[Loader, ...] = (python_loader, c_api_loader)
LOADERS: dict[str, tuple[Loader, ...]] = {
    "full": (python_loader, session_loader, c_api_loader, server_loader),
    "quick": _QUICK,
}
"""How much is proved -> ways to load the export. The first is what the others are compared with."""


def prove(
    version_folder: Path,
    samples: ProofSamples,
    expected: ExpectedScores,
    number_format: str,
    extent: str = "full",
) -> Proof:
    """Asks an export everything on every way and compares the answers.

    A signature that the samples do not ask is a failure.

    Args:
      version_folder: the SavedModel, which need not be in its place yet.
      samples: what is asked (`draw_samples`).
      expected: what the checkpoint's model says (`expected_scores`).
      number_format: of the stored vectors: float32, float16 or int8.
      extent: "full", or "quick" for the SavedModel in Python and the C API only.

    Returns:
      The proof; `Proof.require` raises where it fails.

    Raises:
      CommandError: the SavedModel cannot be read, or asks for ids that the data does not have.
    """
    started = time.monotonic()
    proving = _Proving(version_folder, samples, expected, SCORE_BOUNDS[number_format])
    proving.require_requests()
    for loader in LOADERS[extent]:
        proving.load(loader)
    return Proof(
        number_format=number_format,
        id_type=proving.forms.id_type,
        extent=extent,
        examples=samples.num_examples,
        edge_cases=samples.edge_cases,
        bound=proving.bound,
        bound_between_loaders=LOADER_BOUND,
        to_checkpoint=proving.to_checkpoint,
        between_loaders=proving.between_loaders,
        quality=proving.quality,
        failures=tuple(proving.failures),
        seconds=time.monotonic() - started,
    )


class _Proving:
    """One proof in the making."""

    def __init__(
        self,
        version_folder: Path,
        samples: ProofSamples,
        expected: ExpectedScores,
        bound: float,
    ):
        self.bound = bound
        self.forms = SignatureForms(version_folder)
        self.to_checkpoint: dict[str, dict[str, float]] = {}
        self.between_loaders: dict[str, dict[str, float]] = {}
        self.quality: Quality | None = None
        self.failures: list[ProofFailure] = []
        self._folder = version_folder
        self._samples = samples
        self._expected = expected
        self._first: Outputs | None = None
        self._failed: set[tuple[str, str]] = set()

    def require_requests(self) -> None:
        """Makes sure that no signature of the export is left out."""
        asked = {name for request in self._samples.requests for name in request.signatures}
        for signature in sorted(self.forms.definitions.keys() - asked):
            self.failures.append(
                ProofFailure("", signature, "is asked nothing, so nothing is proved")
            )

    def load(self, loader: Loader) -> None:
        """Asks on all ways of a loader, which is gone before the next one loads."""
        try:
            with loader(self._folder) as ways:
                for name, ask in ways.items():
                    self._ask(name, ask)
        except Exception as error:  # TensorFlow has no common error for what it cannot load.
            name = loader.__name__.removesuffix("_loader")
            self.failures.append(ProofFailure(name, "", f"cannot be loaded ({_reason(error)})"))

    def _ask(self, way: str, ask: Ask) -> None:
        self.to_checkpoint[way] = {}
        outputs: Outputs = []
        for number, request in enumerate(self._samples.requests):
            outputs.append({})
            for signature in request.signatures:
                expected = self._in_id_type(self._expected.outputs[number][signature])
                try:
                    actual = ask(signature, self.forms.inputs(signature, request.raw))
                except Exception as error:
                    # TensorFlow's errors have no common base; that it cannot be asked is a result.
                    text = f"cannot be asked about {request.names[0]} ... ({_reason(error)})"
                    self._count(self.to_checkpoint, way, signature, Gap(np.inf, 0.0, text))
                    continue
                outputs[-1][signature] = actual
                gap = largest_gap(expected, actual, self.bound, request.names)
                self._count(self.to_checkpoint, way, signature, gap)
                self._compare_with_first(way, number, signature, actual)
        if self._first is None:
            self._first = outputs
            self.quality = compare_quality(self._samples, self._expected.quality, self.forms, ask)

    def _compare_with_first(
        self, way: str, number: int, signature: str, actual: Mapping[str, np.ndarray]
    ) -> None:
        """Two loaders of the same SavedModel differ by the order of sums, whatever its numbers."""
        if self._first is None or signature not in self._first[number]:
            return
        names = self._samples.requests[number].names
        gap = largest_gap(self._first[number][signature], actual, LOADER_BOUND, names)
        self._count(self.between_loaders, way, signature, gap, " against the loader in Python")

    def _count(
        self,
        differences: dict[str, dict[str, float]],
        way: str,
        signature: str,
        gap: Gap,
        against: str = "",
    ) -> None:
        way_differences = differences.setdefault(way, {})
        way_differences[signature] = max(way_differences.get(signature, 0.0), gap.difference)
        if not gap.is_within and (way, signature) not in self._failed:
            self._failed.add((way, signature))
            self.failures.append(ProofFailure(way, signature, gap.text + against))

    def _in_id_type(self, expected: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {
            name: self.forms.ids(values) if name == ITEM_ID else values
            for name, values in expected.items()
        }


def _reason(error: Exception) -> str:
    """One line of bounded length; TensorFlow's messages have the whole graph in them."""
    text = f"{type(error).__name__}: {' '.join(str(error).split())}"
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]} ..."
