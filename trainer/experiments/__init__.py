"""Experiments: backbones x arms x seeds under one budget, each arm compared with a baseline."""
