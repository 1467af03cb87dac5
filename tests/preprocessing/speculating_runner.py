"""A Beam runner that gives every bundle to two worker processes at the same time.

Engines do so when a worker is slow, or seems lost. The outputs of one of the two count; what both
do to files is done twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.runners.portability.fn_api_runner.execution import BundleContextManager
from apache_beam.runners.portability.fn_api_runner.fn_runner import BundleManager
from typing_extensions import override

BUNDLES: list[bool] = []
"""True for each bundle that this process has given to two workers."""


class SpeculatingRunner(FnApiRunner):
    """`--runner tests.preprocessing.speculating_runner.SpeculatingRunner`, with two workers."""

    @override
    def _get_bundle_manager(self, bundle_context_manager: BundleContextManager) -> BundleManager:
        tokens = FnApiRunner.get_cache_token_generator(static=False)
        return _TwoAttempts(bundle_context_manager, cache_token_generator=tokens)


class _TwoAttempts(BundleManager):
    @override
    def process_bundle(
        self,
        inputs: Mapping[str, Any],
        expected_outputs: dict[str, bytes],
        fired_timers: Mapping[Any, Any],
        expected_output_timers: Mapping[Any, Any],
        dry_run: bool = False,
    ) -> Any:
        rest = (expected_outputs, fired_timers, expected_output_timers)
        sent = {name: list(buffer) for name, buffer in inputs.items()}
        # Managers take the workers in turn, so that the second gets the other one.
        second = BundleManager(
            self.bundle_context_manager, cache_token_generator=self._cache_token_generator
        )
        with ThreadPoolExecutor(1) as thread:
            attempt = thread.submit(second.process_bundle, sent, *rest, dry_run=True)
            result = super().process_bundle(sent, *rest)
            attempt.result()
        BUNDLES.append(self._worker_handler is not second._worker_handler)
        return result
