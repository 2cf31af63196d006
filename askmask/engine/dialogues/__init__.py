"""Dialogues out of pictures, in PRIST's manner: elements, reasoning trees, dialogues that end on one object, masks."""
