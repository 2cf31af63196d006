"""The network: tensors in, tensors out. Knows no data set, and no file format but its own checkpoint."""
