"""The bundled MovieLens sample with real LLM answers, and the demo that runs on it."""
