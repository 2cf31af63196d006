"""Prompt texts: the `templates/*.md` of a package, filled with `$names`; their hashes go with every result.

A template holds instructions only. What comes from pictures or models (descriptions, prompts) never enters it: such
text travels as JSON in the user message (`request.py`), so that it cannot pose as an instruction.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from string import Template


@cache
def text_of(package: str, name: str) -> str:
    """Return the text of `templates/<name>.md` in `package`."""
    return (files(package) / "templates" / f"{name}.md").read_text(encoding="utf-8").strip()


def names_of(package: str) -> list[str]:
    """Return the names of a package's templates, sorted."""
    folder = files(package) / "templates"
    return sorted(entry.name[:-3] for entry in folder.iterdir() if entry.name.endswith(".md"))


def fill(package: str, name: str, **values: str) -> str:
    """Return the text with every `$name` filled; a missing or unused name is an error."""
    template = Template(text_of(package, name))
    if set(template.get_identifiers()) != set(values):
        raise ValueError(f"template {name!r} needs {template.get_identifiers()}, got {sorted(values)}")
    return template.substitute(values)


def hash_of(*texts: str) -> str:
    """Return the first 12 hex digits of the SHA-256 of texts, in order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:12]
