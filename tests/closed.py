"""Folders that may not be entered, for real, also where tests run as root."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def nobodys_folder() -> Iterator[Path]:
    """Give a folder that a plain user may enter; what is closed in it (mode 0) is closed to this process meanwhile."""
    root = Path(tempfile.mkdtemp()).resolve()
    root.chmod(0o755)
    user = os.geteuid()
    try:
        yield root
    finally:
        os.seteuid(user)
        for path in root.rglob("*"):
            path.chmod(0o755)
        shutil.rmtree(root)


def be_a_plain_user() -> None:
    """Give up root's right to enter every folder, until `nobodys_folder` ends."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
