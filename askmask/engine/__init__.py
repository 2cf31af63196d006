"""The data engine: raw pictures in, verified prompt-mask pairs out. Models are handed in, never imported."""
