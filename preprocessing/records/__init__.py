"""The TFRecord contract: preprocessing writes, trainer and serving read. No Beam here."""
