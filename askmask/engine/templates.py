"""The prompt texts: `templates/*.md`, filled with `$names`. The hash of a text is stored with every result.

A template holds instructions only. What comes from pictures or models (descriptions, prompts) never enters it: such
text travels as JSON in the user message (`vlm/request.py`), so that it cannot pose as an instruction.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from string import Template

from askmask.engine.families import FAMILIES


@cache
def text_of(name: str) -> str:
    """Return the text of `templates/<name>.md`."""
    return (files("askmask.engine") / "templates" / f"{name}.md").read_text(encoding="utf-8").strip()


@cache
def hash_of(*names: str) -> str:
    """Return the first 12 hex digits of the SHA-256 of the named texts, in order."""
    return hashlib.sha256("\0".join(text_of(name) for name in names).encode()).hexdigest()[:12]


def fill(name: str, **values: str) -> str:
    """Return the text with every `$name` filled; a missing or unused name is an error."""
    template = Template(text_of(name))
    if set(template.get_identifiers()) != set(values):
        raise ValueError(f"template {name!r} needs {template.get_identifiers()}, got {sorted(values)}")
    return template.substitute(values)


def fill_write(concept: str) -> str:
    """Return the stage-4 text of one concept."""
    families = "\n".join(f"- `{name}`: {text}" for name, text in FAMILIES[concept].items())
    return fill("write_prompts", concept=concept, families=families, guidance=text_of(f"concept_{concept}"))


def all_hashes() -> dict[str, str]:
    """Return name -> hash of every template, for the run's manifest."""
    folder = files("askmask.engine") / "templates"
    names = sorted(entry.name[:-3] for entry in folder.iterdir() if entry.name.endswith(".md"))
    return {name: hash_of(name) for name in names}
