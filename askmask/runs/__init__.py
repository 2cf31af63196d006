"""What a run writes to disk: whole files, append-only logs, one lock, and whose a folder is."""
