"""A simulated world of tables and things whose truths are measured, not opined. Needs the extra [world]."""
