"""Seeing without a VLM: detectors (words -> boxes) and promptable segmenters (boxes -> masks)."""
