"""TensorFlow's C++ runtime through its C API, as TensorFlow Serving uses it."""
