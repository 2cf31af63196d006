"""Data sets built from other people's annotations: `askmask build`."""
