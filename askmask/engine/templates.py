"""The engine's prompt texts (`templates/*.md`), and the hashes of all texts that a run is made with."""

from __future__ import annotations

from functools import partial

from askmask.engine.families import FAMILIES
from askmask.vlm import templates

text_of = partial(templates.text_of, "askmask.engine")
fill = partial(templates.fill, "askmask.engine")


def hash_of(*names: str) -> str:
    """Return the hash of the named texts, in order."""
    return templates.hash_of(*map(text_of, names))


def fill_write(concept: str) -> str:
    """Return the stage-4 text of one concept."""
    families = "\n".join(f"- `{name}`: {text}" for name, text in FAMILIES[concept].items())
    return fill("write_prompts", concept=concept, families=families, guidance=text_of(f"concept_{concept}"))


def all_hashes() -> dict[str, str]:
    """Return name -> hash of every template that decides a run's results, for its manifest."""
    return {
        name: templates.hash_of(templates.text_of(package, name))
        for package in ("askmask.engine", "askmask.detectors", "askmask.vlm")
        for name in templates.names_of(package)
    }
