"""Ask a picture, get the mask. Public names only; heavy libraries load when first used."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from askmask.answer import Answer
    from askmask.conversation import Example, Prompt, Round, Segment
    from askmask.errors import AskMaskError
    from askmask.imaging.given import read_clipboard, read_url
    from askmask.imaging.mask import Mask
    from askmask.loading import load
    from askmask.session import Model, Session

_HOME = {
    "Answer": "askmask.answer",
    "AskMaskError": "askmask.errors",
    "Example": "askmask.conversation",
    "Mask": "askmask.imaging.mask",
    "Model": "askmask.session",
    "Prompt": "askmask.conversation",
    "Round": "askmask.conversation",
    "Segment": "askmask.conversation",
    "Session": "askmask.session",
    "load": "askmask.loading",
    "read_clipboard": "askmask.imaging.given",
    "read_url": "askmask.imaging.given",
}

__all__ = [
    "Answer",
    "AskMaskError",
    "Example",
    "Mask",
    "Model",
    "Prompt",
    "Round",
    "Segment",
    "Session",
    "__version__",
    "load",
    "read_clipboard",
    "read_url",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'askmask' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
