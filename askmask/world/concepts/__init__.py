"""The five concepts: each module turns one picture's facts into queries. One function `ask(ground, rng)` each."""

from askmask.world.concepts import affordances, entities, physics, relations, spatial

ASK = {
    "entities": entities.ask,
    "spatial": spatial.ask,
    "relations": relations.ask,
    "affordances": affordances.ask,
    "physics": physics.ask,
}
