"""Tools around Bazel: the BUILD file generator and the main program of test targets."""
