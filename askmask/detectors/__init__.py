"""Detectors: a description in words -> boxes on a picture."""
