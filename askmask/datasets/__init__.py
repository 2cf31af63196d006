"""Files on disk -> Examples: one module per source, each with one real row and its URL in the docstring."""
