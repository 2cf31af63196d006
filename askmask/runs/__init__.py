"""What a run writes to disk: whole files, append-only logs, locks, and folders that say whose they are."""
