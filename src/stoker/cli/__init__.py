"""The command line: one file per command, loaded only when it is called, so that ``stoker --help`` is instant."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from stoker import __version__
from stoker.cli import session
from stoker.cli.commands import COMMANDS, SECTIONS, load
from stoker.cli.texts import helped, language, use
from stoker.cli.usage import UsageError, explain, is_help
from stoker.error_words import error_in
from stoker.errors import StokerError, near

INTERRUPTED = 130


class _Root(TyperGroup):
    """Knows the commands by name and one line each, and imports the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return [command.name for command in COMMANDS]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002
        return load(cmd_name)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        self.help = helped(self.help or "")
        for option in self.get_params(ctx):
            option.help = helped(option.help)  # type: ignore[attr-defined]
        super().format_help(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002
        for section in SECTIONS:
            with formatter.section(helped(section)):
                formatter.write_dl([(f"{c.name:<9}", helped(c.line)) for c in COMMANDS if c.section == section])

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and not args[0].startswith("-") and load(args[0]) is None:
            known = [command.name for command in COMMANDS]
            ctx.fail(f'no command "{args[0]}"{near(args[0], known) or "; see: stoker --help"}')
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Root,
    add_completion=False,
    rich_markup_mode=None,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _speak(wanted: str) -> str:
    use(wanted)  # before the help is shown
    return wanted


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"stoker {__version__}")
        raise typer.Exit


@app.callback()
def root(
    url: Annotated[str, typer.Option(help="The server, instead of STOKER_URL or the one of `stoker login`.")] = "",
    lang: Annotated[
        str,
        typer.Option(
            callback=_speak, is_eager=True, help="Language of reports: en or zh; else STOKER_LANG, LC_ALL, LANG."
        ),
    ] = "",
    _version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keeps accelerators busy with work that matters, and says why when they are not."""
    session.begin(url, lang)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code. What goes wrong for a known reason is one line on stderr."""
    use()
    command = typer.main.get_command(app)
    try:
        # Not command.main(): that has its own ideas of what to print and how to exit.
        with command.make_context("stoker", list(sys.argv[1:] if arguments is None else arguments)) as context:
            result = command.invoke(context)
        sys.stdout.flush()
    except typer.Exit as ended:
        return ended.exit_code
    except StokerError as error:
        return _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return _pipe_closed()
    except UsageError as error:
        return _usage(error)
    except OSError as error:
        return _fail(f"{error.filename or 'cannot go on'}: {(error.strerror or str(error)).lower()}", 1)
    finally:
        session.end()
    return result if isinstance(result, int) else 0


def _fail(message: str, code: int) -> int:
    print(f"stoker: {error_in(language(), message)}", file=sys.stderr)
    return code


def _usage(error: Exception) -> int:
    if is_help(error):
        print(str(getattr(error, "message", error)))
        return 0
    return _fail(explain(error), 2)


def _pipe_closed() -> int:
    """The reader of our output has gone (``| head``): nothing more may be written, not even at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 141
