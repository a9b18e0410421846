"""What is said of one setting where it is declared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from duck.settings.kinds import Kind

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30


SAME: Final = object()


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        section: its heading on the reference page.
        default: in the form in which it is used; a list or table is copied for each `Settings`.
        unit: `"seconds"`, `"bytes"`, `"requests"` ..., or `""`.
        sentence: what it does; ends with a full stop, may be followed by a second one on its default.
        flags: options of the commands that serve; `("--reload/--no-reload",)` for a boolean.
        of: the commands that have these options.
        in_production: the default under `duck serve`, where it is another one.
        metavar: how the option's value is called in the help.
        aliases: other names that are accepted wherever the name is.
        check: refuses a value that its kind allows, with a `ValueError` that says what is right.
        secret: shown as dots.
    """

    section: str
    name: str
    kind: Kind
    default: Any
    sentence: str
    unit: str = ""
    flags: tuple[str, ...] = ()
    metavar: str = ""
    aliases: tuple[str, ...] = ()
    check: Callable[[Any], None] | None = None
    secret: bool = False
    of: tuple[str, ...] = ("runserver", "serve")
    in_production: Any = SAME

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return f"DUCK_{self.name}"
