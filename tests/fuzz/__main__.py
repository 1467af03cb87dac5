"""`python -m tests.fuzz`: tries parsers with very many inputs, led by the code that they reach.

Each parser has a process of its own under Atheris (libFuzzer), which ends it where an input takes
more than ten seconds or two gigabytes more than the parser has at rest. What was found lies in
`out/fuzz/PARSER`; put it into `tests/fuzz/corpus/PARSER` with the repair. `rest_api` is a server
that schemathesis asks, led by the description of its API.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_CASE_SECONDS = 10
_CASE_MEGABYTES = 2048
_ROOMS = ["configs", "preprocessing", "serving.client", "serving.protocol", "serving.server"]
_REST_API = "rest_api"
_NOISE = ("#", "INFO", "I0", "WARNING")
_SHOWN_LINES = 30


def main() -> int:
    """Tries the parsers one after the other; 1 if a defect was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help="all if none is named")
    parser.add_argument("--cases", type=int, default=100_000, help="inputs of each parser")
    parser.add_argument("--seed", type=int, default=1, help="same seed, same inputs")
    parser.add_argument("--out", type=Path, default=Path("out/fuzz"), help="what is found")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_process:
        _try_here(arguments.parsers[0], arguments.cases, arguments.seed, arguments.out)
        return 0
    from tests.fuzz.parsers import PARSERS, folder_in_memory

    names = [*PARSERS, _REST_API]
    unknown = sorted(set(arguments.parsers) - set(names))
    if unknown:
        parser.error(f"there is no parser '{unknown[0]}'; there are {', '.join(names)}")
    found = []
    # libFuzzer ends a process without what Python does at its end.
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=folder_in_memory()) as folder:
        os.environ["TMPDIR"] = folder
        for name in arguments.parsers or names:
            is_sound = _is_rest_api_sound if name == _REST_API else _is_sound
            if not is_sound(name, arguments.cases, arguments.seed, arguments.out):
                found.append(name)
    print(f"defects: {', '.join(found) or 'none'}")
    return 1 if found else 0


def _is_sound(name: str, cases: int, seed: int, out: Path) -> bool:
    """Tries one parser in a process of its own and prints a line about it."""
    began = time.monotonic()
    command = [sys.executable, "-m", "tests.fuzz", name, "--in-process"]
    command += ["--cases", str(cases), "--seed", str(seed), "--out", str(out)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        output = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    told = re.findall(r"Done (\d+) runs|cov: (\d+)", output)
    runs = next((int(count) for count, _ in reversed(told) if count), 0)
    reached = next((int(count) for _, count in reversed(told) if count), 0)
    is_sound = process.returncode == 0 and runs >= cases
    line = {
        "parser": name,
        "cases": runs,
        "branches": reached,
        "seconds": round(time.monotonic() - began, 1),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "megabytes": usage.ru_maxrss // 1024,
        "sound": is_sound,
    }
    print(json.dumps(line), flush=True)
    if not is_sound:
        lines = [text for text in output.splitlines() if not text.startswith(_NOISE)]
        print("\n".join(lines[-_SHOWN_LINES:]), flush=True)
    return is_sound


def _is_rest_api_sound(name: str, cases: int, seed: int, out: Path) -> bool:
    """Tries the server's REST API and prints a line about it."""
    from tests.fuzz.rest_api import try_rest_api

    began = time.monotonic()
    tried = try_rest_api(cases, seed, out / name)
    line = {
        "parser": name,
        "cases": tried.cases,
        "seconds": round(time.monotonic() - began, 1),
        "sound": tried.is_sound,
    }
    print(json.dumps(line), flush=True)
    if not tried.is_sound:
        print(tried.report, flush=True)
    return tried.is_sound


def _try_here(name: str, cases: int, seed: int, out: Path) -> None:
    """Tries one parser in this process, which then ends."""
    import atheris

    with atheris.instrument_imports(include=_ROOMS):
        from tests.fuzz.parsers import CORPUS, PARSERS, tried
    tested = PARSERS[name]
    corpus = out / name / "inputs"
    shutil.rmtree(corpus, ignore_errors=True)
    corpus.mkdir(parents=True)
    kept = sorted((CORPUS / name).glob("*")) if (CORPUS / name).is_dir() else []
    for number, data in enumerate([*tested.seeds, *(path.read_bytes() for path in kept)]):
        (corpus / f"seed{number}").write_bytes(data)
    at_rest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    options = {
        "runs": cases,
        "seed": seed,
        "timeout": _CASE_SECONDS,
        "rss_limit_mb": at_rest + _CASE_MEGABYTES,
        "max_len": 64 * 1024,
        "artifact_prefix": f"{out / name}/",
    }
    atheris.Setup(
        [sys.argv[0], str(corpus), *(f"-{key}={value}" for key, value in options.items())],
        lambda data: tried(tested, data),
    )
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
