"""The neutral scorer: anybody's masks against any ground truth, by named protocols. Imports no torch."""
