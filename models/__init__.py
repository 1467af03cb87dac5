"""Keras layers and TFRS models that rank with LLM knowledge. A library: no files, no flags."""
