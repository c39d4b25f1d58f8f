"""Metrics, intervals and calibration from a predictions file; never from a model."""
