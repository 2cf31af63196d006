"""Back-ends: what answers prompts behind the one seam of backend.py."""
