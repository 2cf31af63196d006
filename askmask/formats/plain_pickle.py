"""Read a pickle of plain containers without executing anything.

The refer sets are distributed as pickles, and a pickle may call any function while it loads. A file of plain
containers never needs to name one, so every attempt is refused.
"""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any, NoReturn

from askmask.errors import DataError

MAX_PICKLE_BYTES = 1 << 30


class _ContainersOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> NoReturn:
        raise pickle.UnpicklingError(f"it wants to call {module}.{name}")

    def persistent_load(self, pid: Any) -> NoReturn:
        raise pickle.UnpicklingError("it points outside the file")


def read_plain_pickle(path: str | Path) -> Any:
    """Return what the pickle holds. Old ones, written by Python 2, are read as latin-1 where ASCII fails.

    Raises DataError for one that is damaged or asks for anything but containers; nothing has run then.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError("no such file", got=path, do="Check the root folder and `by`.")
    if path.stat().st_size > MAX_PICKLE_BYTES:
        raise DataError(f"{path}: larger than {MAX_PICKLE_BYTES >> 30} GB")
    for encoding in ("ASCII", "latin-1"):
        with path.open("rb") as file:
            try:
                return _ContainersOnly(file, encoding=encoding).load()
            except UnicodeDecodeError:
                continue
            except pickle.UnpicklingError as error:
                raise DataError(
                    f"{path}: not a pickle of plain containers", got=error, do="Do not load it otherwise."
                ) from error
            except Exception as error:  # a damaged pickle raises nearly anything
                raise DataError(f"{path}: the pickle is damaged", got=error, do="Fetch it again.") from error
    raise DataError(f"{path}: the pickle's text is neither ASCII nor latin-1")
