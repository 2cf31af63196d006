"""A simulated world of tables whose truths are measured, not annotated. Needs the extra [world]."""
