"""Words that a command does not understand: what Typer raises for them, and what is said."""

from __future__ import annotations

from typing import Any

import typer

UsageError: type[Exception] = typer.BadParameter.__bases__[0]  # its module moved between versions of Typer


def explain(error: Any, more: str = "") -> str:
    """One line with the help to look at; `more` is a hint of the command's own."""
    message = " ".join(error.format_message().removesuffix(".").split()).partition(", unable to parse")[0]
    message = message.replace(": Value error, ", ": ").replace(": Input should be ", ": must be ")
    context = getattr(error, "ctx", None)
    see = f"; see: {context.command_path} --help" if context is not None and "see: " not in message else ""
    return message[:1].lower() + message[1:] + more + see


def is_unknown_option(error: Any) -> bool:
    return type(error).__name__ == "NoSuchOption"


def is_help(error: Any) -> bool:
    """No words at all where some are needed: the help is the answer, and no error."""
    return type(error).__name__ == "NoArgsIsHelpError"
