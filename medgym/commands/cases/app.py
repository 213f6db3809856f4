"""The command `medgym cases`: its sub-commands, and which one is meant where none is named."""

from typing import Any

import typer
from typer.core import TyperGroup

from medgym.commands.cases.card import card
from medgym.commands.cases.check import check
from medgym.commands.cases.export import export
from medgym.commands.cases.get import get
from medgym.commands.cases.listing import list_cases
from medgym.commands.cases.new import new
from medgym.commands.cases.scrub import scrub
from medgym.commands.cases.show import show
from medgym.commands.cases.stats import stats


class ListByDefault(TyperGroup):
    """`medgym cases SPEC` is `medgym cases list SPEC`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `list` before arguments that name no sub-command."""
        if not args or (args[0] not in self.commands and args[0] not in ("-h", "--help")):
            args = ["list", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=ListByDefault,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def cases() -> None:
    """List cases, draw them, check them; fetch published ones; de-identify images.

    Example: medgym cases phantom,question=kind:test[:5] --gold
    """


app.command("list")(list_cases)
app.command("show")(show)
app.command("check")(check)
app.command("stats")(stats)
app.command("export")(export)
app.command("get")(get)
app.command("card")(card)
app.command("scrub")(scrub)
app.command("new")(new)
