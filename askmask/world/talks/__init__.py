"""Conversations over one simulated picture: rounds that remember masks, and an intent that moves."""
