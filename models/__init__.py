"""Keras layers and TensorFlow Recommenders models that rank with LLM knowledge. A library: no files, no flags."""
