"""Raw data and LLM answers to TFRecords, as Beam pipelines. No model code."""
