"""`duck automations backfill`: planned times that were, run now."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from duck.cli.automations.place import (
    engine_of,
    found_in,
    offer_automations,
    options,
    refuse_off,
    somebody_lives,
    the_one,
)
from duck.cli.automations.shown import iso, local, print_table, run_values
from duck.cli.main import FAILED, OK
from duck.cli.options import load_settings
from duck.exceptions import ApplicationError

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from duck.services.automations.backfill import Planned


@click.command()
@click.argument("name", shell_complete=offer_automations)
@click.option(
    "--from", "first", required=True, metavar="MOMENT", help="The first, such as 2026-05-01 or 2026-05-01T06:00."
)
@click.option("--to", "last", required=True, metavar="MOMENT", help="The last; a date alone is the whole day.")
@click.option("--dry-run", is_flag=True, help="Show what would be run, and run nothing.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@options
def backfill(name: str, first: str, last: str, dry_run: bool, yes: bool, as_json: bool, **given: Any) -> int:
    """Run the planned times of a span that has passed.

    Each planned time is run once, with the key that it had: one whose run succeeded, or goes on, is left, and so is one
    that was backfilled before. They run one after the other, where the automation's runs do not overlap, and behind
    what is planned now. Moments without a zone are on the clocks of the automation. They are shown before, and asked
    for.

    For example: duck automations backfill nightly --from 2026-05-01 --to 2026-05-07 --dry-run
    """
    from duck.services.automations.backfill import backfill_plan

    if as_json and not dry_run and not yes:
        raise click.UsageError("Nobody can be asked with --json: give --yes, or --dry-run.")
    settings = load_settings(given)
    found, engine = found_in(settings), engine_of(settings)
    declaration = the_one(found, name)
    refuse_off(declaration)
    if declaration.plan.schedule is None:
        raise ApplicationError(
            f"{name} has no planned times ({declaration.when}); `duck automations run {name}` runs it."
        )
    zone = declaration.plan.zone
    begin, of_begin = _moment(first, zone, is_end=False)
    end, of_end = _moment(last, zone, is_end=True)
    notes = [f"{note[0].upper()}{note[1:]}." for note in dict.fromkeys((of_begin, of_end)) if note]
    now = engine.now()
    if end < begin:
        raise click.BadParameter(f"{last} is before {first}.", param_hint="--to")
    if begin > now:
        raise click.BadParameter(f"{first} has not come yet.", param_hint="--from")
    try:
        planned = backfill_plan(declaration, engine, begin, min(end, now))
    except ValueError as error:
        raise ApplicationError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
    times = [each.at for each in planned if not each.left]
    if not as_json:
        for note in notes:
            click.echo(note, err=True)
        _show(planned, zone, len(times))
    if times and not dry_run and not yes and not _confirms(f"Run {name} for {_times(len(times))}?"):
        click.echo("Nothing is run.", err=True)
        return FAILED
    queued = []
    if times and not dry_run:
        if name not in engine.standings():
            engine.register([declaration])
        queued = engine.backfill(declaration, times)
    if as_json:
        rows = [{"planned": iso(each.at), "left": each.left} for each in planned]
        values = {"planned": rows, "queued": [run_values(each) for each in queued], "notes": notes}
        click.echo(json.dumps(values, indent=2))
    elif not dry_run and times:
        click.echo(f"{_times(len(queued))} queued; `duck automations history {name}` shows what becomes of them.")
        if not somebody_lives(engine):
            click.echo("No node runs that could carry them out; start `duck automations run`.", err=True)
    return OK


def _confirms(question: str) -> bool:
    try:
        return click.confirm(question)
    except click.Abort:
        if sys.stdin.isatty():
            raise  # Ctrl-C
    click.echo()
    raise click.UsageError("Nobody can be asked here: give --yes, or --dry-run.")


def _show(planned: list[Planned], zone: ZoneInfo, runs: int) -> None:
    print_table([{"planned": local(iso(each.at), zone), "is": each.left or "to run"} for each in planned])
    click.echo(f"{_times(len(planned))}, {runs} to run.")


def _times(count: int) -> str:
    return f"{count} planned time{'' if count == 1 else 's'}"


def _moment(text: str, zone: ZoneInfo, *, is_end: bool) -> tuple[datetime, str]:
    """What an option says, and what there is to be said of that."""
    from duck.services.automations.backfill import bound_of

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        hint = "--to" if is_end else "--from"
        right = "give a date or a moment, such as 2026-05-01 or 2026-05-01T06:00"
        raise click.BadParameter(f"{text}: {right}.", param_hint=hint) from None
    if is_end and len(text) <= len("2026-05-01"):
        moment = moment.replace(hour=23, minute=59, second=59, microsecond=999_999)
    return bound_of(moment, zone, is_end=is_end) if moment.tzinfo is None else (moment.astimezone(UTC), "")
