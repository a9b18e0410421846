"""The command line as text: docs/reference/cli.md."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from duck.cli.main import EXIT_CODES, cli

_OPENING = """\
# Command line

<!-- Written by duck.cli.page from the commands themselves; change those, then run
     `python -m duck.cli.page > docs/reference/cli.md`. -->

`duck` and `python -m duck` are the same program.
Everything that goes wrong is one sentence on standard error, or `{"error": "..."}` on standard output with `--json`.

| exit code | meaning |
|---|---|
"""


def cli_page() -> str:
    """docs/reference/cli.md."""
    codes = "".join(f"| {code} | {meaning} |\n" for code, meaning in EXIT_CODES.items())
    context = click.Context(cli, info_name="duck", help_option_names=["-h", "--help"])
    return _OPENING + codes + "".join(_commands(context, cli))


def _commands(context: click.Context, group: click.Group, above: str = "") -> Iterator[str]:
    """Each command of `group`, and those of a group after it."""
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        own = click.Context(command, info_name=name, parent=context)
        yield _command(own, command, f"{above}{name}")
        if isinstance(command, click.Group):
            yield from _commands(own, command, f"{above}{name} ")


def _command(own: click.Context, command: click.Command, name: str) -> str:
    usage = " ".join(command.collect_usage_pieces(own))
    # A dash of two hyphens would become one long one in prose.
    text = re.sub(r"(?m)^(For example[^:]*): (.+)$", r"\1: `\2`", inspect.cleandoc(command.help or ""))
    options = "".join(_options(command, own))
    table = f"| option | meaning |\n|---|---|\n{options}"
    return f"\n## duck {name}\n\n```text\nduck {name} {usage}\n```\n\n{text}\n\n{table}"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context) if isinstance(parameter, click.Option) else None
        if record is not None:
            names, sentence = (" ".join(part.split()).replace("|", "\\|") for part in record)
            yield f"| `{names}` | {sentence} |\n"


if __name__ == "__main__":
    click.echo(cli_page(), nl=False)
