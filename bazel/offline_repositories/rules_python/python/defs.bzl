"""The rules for Python that are built into Bazel 4, under the names that BUILD files load."""

py_binary = native.py_binary  # buildifier: disable=native-py
py_library = native.py_library  # buildifier: disable=native-py
py_test = native.py_test  # buildifier: disable=native-py
