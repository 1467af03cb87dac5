"""Main program of every py_test: runs pytest on the files given as arguments."""

from __future__ import annotations

import os
import sys

import pytest


def main(arguments: list[str]) -> int:
    """Runs the fast tests of the given files from the root of the runfiles tree.

    Returns:
      pytest's exit code; 0 for a file that holds slow tests only, whose selection is empty.
    """
    scratch = os.environ.get("TEST_TMPDIR")
    options = ["--rootdir=.", "-p", "no:cacheprovider", "-m", "not slow"]
    if scratch:
        options.append(f"--basetemp={scratch}/pytest")
    code = pytest.main([*options, *arguments])
    return 0 if code == pytest.ExitCode.NO_TESTS_COLLECTED else int(code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
