"""Clients of vision-language models behind one small protocol: retries, rates, cache and budget."""
