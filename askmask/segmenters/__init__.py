"""Promptable segmenters: a picture and boxes, points or nothing -> masks with scores."""
