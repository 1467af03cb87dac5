from __future__ import annotations

import functools
import gc
import os
import random
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# Both are read once, when TensorFlow is first imported, so they are set before any test module is.
os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

gc.disable()

# The same few examples on every machine, none remembered from run to run, no deadline of any kind.
settings.register_profile(
    "suite",
    derandomize=True,
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    database=None,
    print_blob=False,
)
settings.load_profile("suite")

# Not resolved: under Bazel this file is a link, and the tests must see the linked tree only.
_ROOT = Path(__file__).absolute().parent.parent


@pytest.fixture(scope="session")
def repository_root() -> Path:
    return _ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder with data sets too large to commit; tests that need it are skipped without it."""
    folder = Path(os.environ.get("REKI_SHARED_DATA") or _ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no data sets at {folder}; name their folder in REKI_SHARED_DATA")
    return folder


_LAST_ROOMS = ("trainer", "serving", "e2e")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Serving comes before whole jobs, with which it shares exports, and trainer before serving.

    Two workers meet in trainer then, and the exports are made by one of them.
    """
    folders = [_ROOT / "tests" / room for room in _LAST_ROOMS]

    @functools.cache
    def place(file: Path) -> int:
        return max((row for row, room in enumerate(folders) if room in file.parents), default=-1)

    items.sort(key=lambda item: place(item.path))


def pytest_collection_finish() -> None:
    """What is imported by now stays, so the garbage collector looks at new objects only."""
    gc.freeze()
    gc.set_threshold(20_000, 10, 20)
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """With `--dist loadfile` every second worker takes files from the end of the list.

    So rooms stay on one worker, and what their files share (prepared scenarios, runs, exports, the
    libraries they load) is made once, and not by each worker.
    """
    if config.getoption("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class FromBothEnds(LoadFileScheduling):
        def _assign_work_unit(self, node: Any) -> None:
            if int(node.gateway.id.removeprefix("gw")) % 2:
                self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
            super()._assign_work_unit(node)

    return FromBothEnds(config, log)


def pytest_runtest_setup(item: pytest.Item) -> None:
    _draw_the_same_numbers_in_every_run()
    if "apache_beam.pipeline" in sys.modules:
        _spare_beam_what_small_pipelines_do_without()
    if item.config.option.markexpr == "not slow" and "tensorflow" in sys.modules:
        _run_graphs_as_they_are_traced()


def _draw_the_same_numbers_in_every_run() -> None:
    """Whatever a test draws without a seed of its own, and whichever tests were before it.

    Keras draws weights so, and a bound on scores would otherwise hold only almost always. Its own
    `set_random_seed` empties TensorFlow's cache of kernels too, which takes longer than most tests.
    """
    random.seed(1)
    np.random.seed(1)
    if keras := sys.modules.get("tf_keras.src.backend"):
        keras._SEED_GENERATOR.generator = random.Random(1)


@functools.cache
def _run_graphs_as_they_are_traced() -> None:
    """The fast suite runs most graphs once or twice, which is not worth rewriting them first.

    `make test-all` runs them as they run elsewhere.
    """
    import tensorflow as tf

    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})


@functools.cache
def _spare_beam_what_small_pipelines_do_without() -> None:
    """Keeps what Beam finds out anew for every step of every pipeline, and takes no times.

    These are the signatures of a DoFn's methods, its states, and the parsers of its options: half
    of the time of a small pipeline, and the suite runs hundreds of them. Its clock is a thread for
    every bundle, which is waited for.
    """
    from apache_beam.options.pipeline_options import PipelineOptions
    from apache_beam.runners.worker import statesampler
    from apache_beam.transforms import core, userstate

    arguments_of, view_as = core.get_function_args_defaults, PipelineOptions.view_as
    specs_of = userstate.get_dofn_specs
    arguments: weakref.WeakKeyDictionary[Any, tuple[list[str], list[Any]]]
    arguments = weakref.WeakKeyDictionary()
    views: weakref.WeakKeyDictionary[PipelineOptions, dict[type, PipelineOptions]]
    views = weakref.WeakKeyDictionary()
    specs: weakref.WeakKeyDictionary[Any, tuple[set[Any], set[Any]]] = weakref.WeakKeyDictionary()

    def known_arguments(function: Callable[..., Any]) -> tuple[list[str], list[Any]]:
        if not isinstance(function, types.MethodType):
            return arguments_of(function)
        if function.__func__ not in arguments:
            arguments[function.__func__] = arguments_of(function)
        names, defaults = arguments[function.__func__]
        return [*names], [*defaults]

    def known_view(options: PipelineOptions, kind: type[PipelineOptions]) -> PipelineOptions:
        own = views.setdefault(options, {})
        if kind not in own:
            own[kind] = view_as(options, kind)
        return own[kind]

    def known_specs(dofn: core.DoFn) -> tuple[set[Any], set[Any]]:
        # What wraps a function has its arguments; all others of a class have equal methods.
        key = dofn if isinstance(dofn, core.CallableWrapperDoFn) else type(dofn)
        if key not in specs:
            specs[key] = specs_of(dofn)
        states, timers = specs[key]
        return {*states}, {*timers}

    def start_without_clock(sampler: statesampler.StateSampler) -> None:
        sampler.tracked_thread = threading.current_thread()
        statesampler.set_current_tracker(sampler)
        sampler.started = True

    def stop_without_clock(sampler: statesampler.StateSampler) -> None:
        statesampler.set_current_tracker(None)
        sampler.finished = True

    statesampler.StateSampler.start = start_without_clock
    statesampler.StateSampler.stop = stop_without_clock
    core.get_function_args_defaults = known_arguments
    PipelineOptions.view_as = known_view
    userstate.get_dofn_specs = known_specs
