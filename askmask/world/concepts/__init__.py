"""The five concepts: each module turns a picture's facts into queries by one function `ask(ground, rng)`."""

from askmask.world.concepts import affordances, entities, physics, relations, spatial

ASK = {
    "entities": entities.ask,
    "spatial": spatial.ask,
    "relations": relations.ask,
    "affordances": affordances.ask,
    "physics": physics.ask,
}
