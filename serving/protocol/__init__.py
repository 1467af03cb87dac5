"""TensorFlow Serving's wire format, shared by the client and the local server."""
