"""The builder's run on disk: the engine's store with stages of its own."""

from __future__ import annotations

from askmask.engine.dialogues.stages import PACKAGE
from askmask.engine.dialogues.values import RESULT_OF
from askmask.engine.store import RunStore
from askmask.engine.templates import TEMPLATE_PACKAGES


class DialogueStore(RunStore):
    """Pictures, results of the builder's stages, calls and replies."""

    FILE = "dialogues.sqlite"
    made_by = "askmask build prist"
    result_of = RESULT_OF
    template_packages = (*TEMPLATE_PACKAGES, PACKAGE)
