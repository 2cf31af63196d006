"""Pointing: a model's words about a picture -> boxes and points in its pixels, nothing with a reason, or unreadable."""
