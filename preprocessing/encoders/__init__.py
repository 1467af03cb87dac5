"""Text encoders: one file each, found by name in `preprocessing.encoders.text_encoder`."""
