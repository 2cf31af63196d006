"""Errors a person can act on: what was wrong, what was got, what to do. Knows nothing of the rest."""


class AskMaskError(Exception):
    """A mistake or a lack that the caller can mend; its text is one line fit to print as it is.

    `what` says what was wrong, `got` what was found instead, `do` what to do about it.
    """

    def __init__(self, what: str, *, got: object = None, do: str | None = None):
        self.what, self.got, self.do = what, got, do
        text = what if got is None else f"{what}; got {got}"
        end = "" if text.endswith((".", "!", "?")) else "."
        super().__init__(" ".join((text if do is None else f"{text}{end} {do}").split()))


class PictureError(AskMaskError, ValueError):
    """A picture that is missing, unreadable, animated or too large."""


class PromptError(AskMaskError, ValueError):
    """A prompt that is empty where words are needed, too long, or not text."""


class MaskError(AskMaskError, ValueError):
    """A mask that does not decode, or masks of different sizes in one operation."""


class CheckpointError(AskMaskError, ValueError):
    """A checkpoint folder that is absent, incomplete, altered or of another shape than its config."""


class DataError(AskMaskError, ValueError):
    """A data file or one row of it that cannot be read as what it claims to be; names file and row."""


class WriteError(AskMaskError):
    """A file that could not be written because the disk is full; names the file."""


class SettingError(AskMaskError, ValueError):
    """A setting that does not exist or contradicts another."""


class Stopped(AskMaskError):
    """No further item of a run would fare better: a refused key, a server that is gone. What is done is kept."""


class MissingExtra(AskMaskError, ImportError):
    """An optional library is needed for what was asked; names the extra that brings it."""

    def __init__(self, library: str, extra: str):
        super().__init__(
            f"this needs the library {library!r}, which is not installed",
            do=f"pip install 'askmask[{extra}]'",
        )
