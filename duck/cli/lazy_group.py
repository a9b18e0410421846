"""A group of commands whose modules are imported when they are used: help names them all and imports none."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click


class LazyGroup(click.Group):
    """A group of the commands that a subclass names.

    Attributes:
        package: where the modules are.
        commands_of: by a command's name its module, the function in it, and the first sentence of its help.
    """

    package: ClassVar[str]
    commands_of: ClassVar[Mapping[str, tuple[str, str, str]]]

    def list_commands(self, ctx: click.Context) -> list[str]:
        """See `click.Group`: in the order in which they are named."""
        return list(self.commands_of)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """See `click.Group`."""
        if name not in self.commands_of:
            return None
        module, function, _ = self.commands_of[name]
        command: click.Command = getattr(importlib.import_module(f"{self.package}.{module}"), function)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """See `click.Group`; of a name that is none a near one is offered."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            import difflib

            near = difflib.get_close_matches(args[0], self.commands_of, 1)
            if not near:
                raise
            raise click.UsageError(f"{error.message.rstrip('.')}; did you mean {near[0]}?", ctx) from None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """See `click.Group`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, sentence) for name, (_, _, sentence) in self.commands_of.items()])
