"""Routes: which of Duck's views answers a path, and which paths are Django's.

A path is decoded once, its dot segments are resolved, and that is what routes and sides are matched against; what is
passed on keeps its bytes.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable, Sequence
from importlib import import_module
from typing import Any, Final, Literal
from urllib.parse import quote, unquote_to_bytes

from duck.exceptions import SettingsError

Side = Literal["duck", "django"]
DUCK: Final = "duck"
DJANGO: Final = "django"


class Converter:
    """A kind of path segment, as Django's: `regex`, and the way to a value and back."""

    regex = "[^/]+"

    def to_python(self, value: str) -> Any:
        """The value for the view; ValueError: this route does not match."""
        return value

    def to_url(self, value: Any) -> str:
        """The text for a path."""
        return str(value)


class _Int(Converter):
    regex = "[0-9]+"

    def to_python(self, value: str) -> int:
        return int(value)


class _Slug(Converter):
    regex = "[-a-zA-Z0-9_]+"


class _UUID(Converter):
    regex = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"

    def to_python(self, value: str) -> uuid.UUID:
        return uuid.UUID(value)


class _Path(Converter):
    regex = ".+"


_converters: dict[str, Converter] = {
    "str": Converter(),
    "int": _Int(),
    "slug": _Slug(),
    "uuid": _UUID(),
    "path": _Path(),
}
_PARAMETER: Final = re.compile(r"<(?:(?P<kind>[^>:]+):)?(?P<name>[^>]+)>")


def register_converter(converter: type[Converter], name: str) -> None:
    """Make `<name:parameter>` known to the routes made from now on."""
    _converters[name] = converter()


class Route:
    """One pattern and what answers it: a view, or more routes below it.

    Attributes:
        source: regular expression for this part of the path.
        template: the same with `{name}` in place of parameters, to build a path; None for `re_path`.
    """

    __slots__ = ("converters", "methods", "name", "route", "source", "target", "template")

    def __init__(
        self,
        route: str,
        source: str,
        template: str | None,
        converters: dict[str, Converter],
        target: Callable[..., Any] | Sequence[Route],
        name: str | None,
        methods: Iterable[str] | None,
    ) -> None:
        self.route = route
        self.source = source
        self.template = template
        self.converters = converters
        self.target = target
        self.name = name
        # HEAD is GET without the body (RFC 9110 §9.3.2): the server leaves the body out.
        asked = None if methods is None else frozenset(method.upper() for method in methods)
        self.methods = asked | {"HEAD"} if asked is not None and "GET" in asked else asked

    def __repr__(self) -> str:
        return f"<Route {self.route!r}>"


def path(
    route: str,
    view: Callable[..., Any] | Sequence[Route],
    name: str | None = None,
    methods: Iterable[str] | None = None,
) -> Route:
    """A route as Django writes it: `path("articles/<int:year>/", view, name="year")`.

    A leading slash is the same as none. With `include(...)` as its view it is a prefix. `methods` names what the view
    answers; 405 for the rest; all by default.

    Raises:
        SettingsError: an unknown converter, or a parameter that is no name or is there twice.
    """
    text = route.removeprefix("/")
    converters: dict[str, Converter] = {}
    source: list[str] = []
    template: list[str] = []
    at = 0
    for found in _PARAMETER.finditer(text):
        kind, parameter = found["kind"] or "str", found["name"]
        if kind not in _converters:
            known = ", ".join(sorted(_converters))
            raise SettingsError(f"the route {route!r} names the converter {kind!r}; known ones are {known}")
        if not parameter.isidentifier() or parameter in converters:
            raise SettingsError(f"the route {route!r} cannot have the parameter {parameter!r}; use each name once")
        converters[parameter] = _converters[kind]
        literal = text[at : found.start()]
        source += re.escape(literal), f"(?P<{parameter}>{_converters[kind].regex})"
        template += literal.replace("{", "{{").replace("}", "}}"), "{" + parameter + "}"
        at = found.end()
    source.append(re.escape(text[at:]))
    template.append(text[at:].replace("{", "{{").replace("}", "}}"))
    ending = r"\Z" if callable(view) else ""
    return Route(route, "".join(source) + ending, "".join(template), converters, view, name, methods)


def re_path(
    route: str,
    view: Callable[..., Any] | Sequence[Route],
    name: str | None = None,
    methods: Iterable[str] | None = None,
) -> Route:
    """A route as a regular expression; named groups become keyword arguments, else the groups become arguments.

    It is matched from the start of the path, its leading slash left out; write `$` to match it to its end.
    """
    source = route.removeprefix("^")
    try:
        re.compile(source)
    except re.error as error:
        raise SettingsError(f"the route {route!r} is not a regular expression: {error}") from error
    return Route(route, source, None, {}, view, name, methods)


def include(routes: str | Sequence[Route]) -> Sequence[Route]:
    """Routes to put below a prefix: a list of them, or the dotted name of a module with `urlpatterns`."""
    if isinstance(routes, str):
        found: Sequence[Route] = import_module(routes).urlpatterns
        return found
    return routes


class Match:
    """A view, and the arguments that the path gives it."""

    __slots__ = ("args", "kwargs", "route", "view")

    def __init__(self, view: Callable[..., Any], args: tuple[str, ...], kwargs: dict[str, Any], route: str) -> None:
        self.view = view
        self.args = args
        self.kwargs = kwargs
        self.route = route

    def __repr__(self) -> str:
        return f"<Match {self.route!r} {self.args or self.kwargs}>"


class NotAllowed:
    """The path is known, its routes do not answer the method; `methods` are those they answer."""

    __slots__ = ("methods",)

    def __init__(self, methods: frozenset[str]) -> None:
        self.methods = methods


class Resolver:
    """`urlpatterns`, compiled: the first route that matches counts."""

    def __init__(self, routes: Iterable[Route] = ()) -> None:
        self._entries = [_Entry(chain) for chain in _chains(routes, ())]
        self._named = {entry.name: entry for entry in reversed(self._entries) if entry.name is not None}

    def __len__(self) -> int:
        return len(self._entries)

    def listed(self) -> list[tuple[str, str | None, frozenset[str] | None, Callable[..., Any]]]:
        """Of each route, in the order in which they are tried: the pattern, its name, its methods, its view."""
        return [(entry.route, entry.name, entry.methods, entry.view) for entry in self._entries]

    def resolve(self, path: str, method: str = "GET") -> Match | NotAllowed | None:
        """What answers `path`, which is as `match_path` gives it; None: nothing here."""
        allowed: frozenset[str] = frozenset()
        text = path.removeprefix("/")
        for entry in self._entries:
            match = entry.match(text)
            if match is None:
                continue
            if entry.methods is None or method in entry.methods:
                return match
            allowed |= entry.methods
        return NotAllowed(allowed) if allowed else None

    def owns(self, path: str) -> bool:
        """Whether any route matches `path`, whatever the method."""
        text = path.removeprefix("/")
        return any(entry.match(text) is not None for entry in self._entries)

    def reverse(self, name: str, **kwargs: Any) -> str:
        """The path of the route called `name`, percent-encoded.

        Raises:
            LookupError: no route of that name, or it needs other arguments.
        """
        entry = self._named.get(name)
        if entry is None:
            raise LookupError(f"no route is called {name!r}")
        return entry.build(kwargs)


class _Entry:
    __slots__ = ("_pattern", "_template", "converters", "methods", "name", "route", "view")

    def __init__(self, chain: tuple[Route, ...]) -> None:
        leaf = chain[-1]
        assert callable(leaf.target)
        self.route = "".join(part.route for part in chain)
        self.view: Callable[..., Any] = leaf.target
        self.methods = leaf.methods
        self.name = leaf.name
        self.converters = {name: converter for part in chain for name, converter in part.converters.items()}
        templates = [part.template for part in chain]
        self._template = None if None in templates else "/" + "".join(filter(None, templates))
        try:
            self._pattern = re.compile("".join(part.source for part in chain))
        except re.error as error:
            raise SettingsError(f"the routes {self.route!r} cannot be put together: {error}") from error

    def match(self, text: str) -> Match | None:
        found = self._pattern.match(text)
        if found is None:
            return None
        values: dict[str, Any] = {name: value for name, value in found.groupdict().items() if value is not None}
        try:
            for name, converter in self.converters.items():
                values[name] = converter.to_python(values[name])
        except ValueError:
            return None
        args = () if found.re.groupindex else tuple(value for value in found.groups() if value is not None)
        return Match(self.view, args, values, self.route)

    def build(self, kwargs: dict[str, Any]) -> str:
        if self._template is None:
            raise LookupError(f"{self.route!r} is a regular expression: a path cannot be built from it")
        if kwargs.keys() != self.converters.keys():
            wanted = ", ".join(self.converters) or "no arguments"
            raise LookupError(f"the route {self.route!r} takes {wanted}; given were {', '.join(kwargs) or 'none'}")
        texts = {name: converter.to_url(kwargs[name]) for name, converter in self.converters.items()}
        for name, text in texts.items():
            if re.fullmatch(self.converters[name].regex, text) is None:
                raise LookupError(f"{text!r} cannot be the {name} of {self.route!r}")
        return quote(self._template.format(**texts), safe="/~!$&'()*+,;=:@")


def _chains(routes: Iterable[Route], above: tuple[Route, ...]) -> Iterable[tuple[Route, ...]]:
    for route in routes:
        if callable(route.target):
            yield (*above, route)
        else:
            yield from _chains(route.target, (*above, route))


class Sides:
    """Who answers a path: Duck itself or Django.

    DJANGO_SIDE_URLS wins, then DUCK_EXPLICIT_URLS, then Duck's urlpatterns; the rest is Django's, or Duck's (a 404)
    where Django is not used. An expression has to match the whole path.
    """

    def __init__(
        self,
        resolver: Resolver,
        *,
        explicit: Iterable[str] = (),
        django: Iterable[str] = (),
        use_django: bool = True,
    ) -> None:
        self._resolver = resolver
        self._explicit = _any_of("DUCK_EXPLICIT_URLS", explicit)
        self._django = _any_of("DJANGO_SIDE_URLS", django)
        self._use_django = use_django

    def decide(self, path: str) -> Side:
        """The side of `path`, which is as `match_path` gives it."""
        if not self._use_django:
            return DUCK
        if self._django is not None and self._django.fullmatch(path):
            return DJANGO
        if self._explicit is not None and self._explicit.fullmatch(path):
            return DUCK
        return DUCK if self._resolver.owns(path) else DJANGO


def match_path(raw: bytes) -> str:
    """`raw`, a path as received, as routes see it: decoded once, `.` and `..` segments resolved (RFC 3986 §5.2.4).

    What is not UTF-8 becomes U+FFFD. Empty segments stay: `//` is not `/`, for Django neither.
    """
    text = unquote_to_bytes(raw).decode("utf-8", "replace")
    return _without_dot_segments(text) if "/." in text else text


def _without_dot_segments(text: str) -> str:
    kept: list[str] = []
    segments = text.split("/")
    for segment in segments[1:]:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in (".", ".."):
        kept.append("")
    return "/" + "/".join(kept)


def _any_of(setting: str, expressions: Iterable[str]) -> re.Pattern[str] | None:
    parts: list[str] = []
    for expression in expressions:
        try:
            re.compile(expression)
        except re.error as error:
            raise SettingsError(
                f"{setting} holds {expression!r}, which is not a regular expression: {error}; escape it or correct it"
            ) from error
        parts.append(f"(?:{expression})")
    return re.compile("|".join(parts)) if parts else None
