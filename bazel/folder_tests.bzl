"""One test target per folder of tests."""

load("@rules_python//python:defs.bzl", "py_test")

def folder_tests(folders, deps, data):
    """Makes a py_test for the test files that lie directly in each folder.

    Args:
      folders: Folders below the calling package; "" is the package itself. A target is named like
        its folder, with "_" for "/".
      deps: What every test may import.
      data: Files that tests read.
    """
    for folder in folders:
        files = native.glob([folder + "/test_*.py" if folder else "test_*.py"])
        if not files:
            fail("no test_*.py in " + folder)
        py_test(
            name = "test_" + (folder.replace("/", "_") or native.package_name()),
            size = "enormous",
            srcs = ["//bazel:pytest_main.py"],
            args = [native.package_name() + "/" + name for name in files],
            data = data,
            main = "//bazel:pytest_main.py",
            deps = deps,
        )
