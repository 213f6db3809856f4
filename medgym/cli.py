"""The command `medgym`: finds its sub-commands in the registry and turns errors into exit codes.

A sub-command is a function or a `typer.Typer`, registered in the entry-point group
`medgym.commands`. It is imported when it is called, never before: what `medgym --help` says of it
is read from its source, so help stays fast and no plug-in can break it.

Exit codes: 0 success; 1 the run failed; 2 wrong usage; 130 interrupted by Ctrl-C, 143 by SIGTERM.
Each but the first comes with one line on stderr: what is wrong and how to fix it. With
MEDGYM_TRACEBACK=1 in the environment, errors come with their traceback. Secrets are shown in
neither.
"""

import os
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from medgym import interrupt
from medgym.asked_to_stop import asked_to_stop
from medgym.commands.printing import safe_line
from medgym.commands.purpose import purpose
from medgym.errors import RunError, UserError, closed_output, missing_library, unknown
from medgym.failures import Failure, traceback_wanted
from medgym.gpu_memory import ELSEWHERE, gpu_memory_error
from medgym.memory import image_memory
from medgym.redaction import redact_text
from medgym.storage.disk import is_full, refused_place

FIRST = ("cases", "play", "rollout", "train", "eval", "view", "list")
"""The order in which help lists the commands that one meets first; others follow by name."""


LINE = 2000
"""Characters of an error that are printed."""


class Commands(TyperGroup):
    """A group whose commands are plug-ins."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The registered names."""
        from medgym.registry import names

        known = names("commands")
        return [name for name in FIRST if name in known] + [n for n in known if n not in FIRST]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that can say what the command is for."""
        if cmd_name not in self.list_commands(ctx):
            return None
        return TyperCommand(cmd_name, help=about(cmd_name))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command itself, imported now."""
        name = args[0]
        if name.startswith("-"):
            return super().resolve_command(ctx, args)
        if name not in self.list_commands(ctx):
            if ctx.resilient_parsing:  # a shell completes a line that is not whole yet
                return None, None, args
            raise unknown("command", name, self.list_commands(ctx))
        return name, loaded(name), args[1:]


def loaded(name: str) -> Any:
    """The registered function or `typer.Typer`, as a command of the parser's kind."""
    from medgym.registry import load

    made = load("commands", name)
    if not isinstance(made, typer.Typer):
        made, function = typer.Typer(add_completion=False), made
        made.command(name)(function)
    return typer.main.get_command(made)


def about(name: str) -> str:
    """What a command is for, in a line; nothing of it is imported."""
    points = (point for point in entry_points(group="medgym.commands") if point.name == name)
    return next((purpose(point) for point in points), "")


app = typer.Typer(
    name="medgym",
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        import medgym

        print(f"medgym {medgym.__version__}")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """An environment in which medical vision-language models learn to look.

    Example: medgym play phantom:test --policy scripted:oracle
    """
    image_memory()  # what the environment declares is checked before any work
    if context.invoked_subcommand is None:
        print(context.get_help())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status."""
    with interrupt.watched():
        status = _run(argv)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter would try again at its end, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status or _say(closed_output(), 1)
    return status


def _run(argv: Sequence[str] | None) -> int:
    command = typer.main.get_command(app)
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        result = command.main(arguments, prog_name="medgym", standalone_mode=False)
    except UserError as error:
        return _say(error, 2)
    except (RunError, Failure) as error:
        return _say(error, 1)
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted()
    except ModuleNotFoundError as error:
        return _say(missing_library(error), 2)
    except Exception as error:
        if is_full(error):
            path = error.filename if isinstance(error, OSError) else None
            where = f"{path} cannot be written: " if path else ""
            fix = "fix: make room, then run the same command again"
            return _say(error, 1, f"{where}the disk is full; {fix}")
        place = refused_place(error)
        if place is not None and isinstance(error, OSError):
            fix = "fix: choose another place, or change its rights"
            return _say(error, 2, f"{place} cannot be used ({error.strerror}); {fix}")
        no_memory = gpu_memory_error(error, f"{ELSEWHERE}, or ask for less at once")
        if no_memory is not None:
            return _say(no_memory, 1)
        if hasattr(error, "format_message"):  # a usage error of the parser's own
            return _say(error, 2, f"{error.format_message().rstrip('.')}; {_fix(error)}")
        return _unexpected(error)
    except BaseException as error:
        if interrupt.came():
            return _interrupted()
        if isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError):
            return 1  # the parser found the output closed
        if asked_to_stop(error) or _may_exit(arguments):
            raise
        return _unexpected(error)  # a plug-in raised it where nothing expects it
    # Without its standalone mode the parser returns the status of an early exit.
    if type(result) is int and result == 130:
        return _interrupted()
    return result if type(result) is int else 0


def _may_exit(arguments: Sequence[str]) -> bool:
    """Whether the process may end as the command likes.

    The command is another package's, or a shell asks the parser for completions.
    """
    if any(each.endswith("_COMPLETE") and "MEDGYM" in each for each in os.environ):
        return True
    name = next((each for each in arguments if not each.startswith("-")), "")
    points = [p for p in entry_points(group="medgym.commands") if p.name == name]
    return any(p.dist is not None and p.dist.name != "medgym" for p in points)


def _unexpected(error: BaseException) -> int:
    note = "fix: MEDGYM_TRACEBACK=1 shows where; please report it"
    return _say(error, 1, f"unexpected {type(error).__name__}: {error}; {note}")


def _fix(error: Any) -> str:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "medgym"
    return f"fix: see {path} --help"


def _interrupted() -> int:
    interrupt.say()
    return interrupt.status()


def _say(error: object, status: int, line: str = "") -> int:
    if interrupt.came():  # what is interrupted fails in its own way
        return _interrupted()
    if traceback_wanted() and isinstance(error, BaseException):
        print(redact_text("".join(traceback.format_exception(error))), end="", file=sys.stderr)
    said = safe_line(redact_text(" ".join((line or str(error)).split())), LINE)
    print("medgym:", said, file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
