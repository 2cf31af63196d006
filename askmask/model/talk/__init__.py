"""Conversations on the large networks: masks that are remembered, and replies in words with masks in them."""
