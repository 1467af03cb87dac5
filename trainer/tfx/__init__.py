"""The TFX pipeline of `trainer.tfx_pipeline`, part by part."""
