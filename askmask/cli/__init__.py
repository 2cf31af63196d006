"""The command line: one file per command group, each parses, calls the library and prints."""

from askmask.cli.app import main

__all__ = ["main"]
