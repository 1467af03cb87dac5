"""New answers into an exported version: encoded, adapted and stored, without any training."""
