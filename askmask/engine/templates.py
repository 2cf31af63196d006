"""The engine's texts: prompts (`templates/*.md`) with their hashes, the families of each concept, pages to fill.

The families follow the ConverSeg paper (section 3 and the supplement's section B); the wording is ours.
"""

from __future__ import annotations

import json
from functools import partial
from importlib.resources import files

from askmask.conversation import CONCEPTS
from askmask.vlm import templates

text_of = partial(templates.text_of, "askmask.engine")
fill = partial(templates.fill, "askmask.engine")


def file_text(name: str) -> str:
    """Return a file of `templates/` as it is."""
    return (files("askmask.engine") / "templates" / name).read_text(encoding="utf-8")


# Concept -> sub-family -> the question it asks of a picture.
FAMILIES: dict[str, dict[str, str]] = json.loads(file_text("families.json"))
assert tuple(FAMILIES) == CONCEPTS


def hash_of(*names: str) -> str:
    """Return the hash of the named texts, in order."""
    return templates.hash_of(*map(text_of, names))


def fill_write(concept: str) -> str:
    """Return the stage-4 text of one concept."""
    families = "\n".join(f"- `{name}`: {text}" for name, text in FAMILIES[concept].items())
    return fill("write_prompts", concept=concept, families=families, guidance=text_of(f"concept_{concept}"))


TEMPLATE_PACKAGES = ("askmask.engine", "askmask.detectors", "askmask.vlm")


def all_hashes(packages: tuple[str, ...] = TEMPLATE_PACKAGES) -> dict[str, str]:
    """Return name -> hash of every template that decides a run's results, for its manifest."""
    return {
        name: templates.hash_of(templates.text_of(package, name))
        for package in packages
        for name in templates.names_of(package)
    }
