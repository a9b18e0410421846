"""`duck completion`: what a shell needs to complete `duck`."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell.

    For example, in ~/.bashrc: eval "$(duck completion bash)"
    """
    from duck.cli.main import cli

    completer = get_completion_class(shell)
    assert completer is not None, shell
    click.echo(completer(cli, {}, "duck", "_DUCK_COMPLETE").source())
    return 0
