"""Who answers what: the routes of a site as a table, and the decision on one path with its reason.

It follows `http.site.Site`: the front-end server; static and media files, the longer prefix first; reserved paths;
Duck's own views; Django.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, unquote_to_bytes, urlsplit

from duck.app import premises
from duck.app.frontend import frontend_plan
from duck.backend.django.discover import find_interpreter, find_project
from duck.exceptions import ProjectError
from duck.http.file_names import file_name, url_prefix
from duck.http.frontend_paths import FIRST, SOURCE, FrontendPaths
from duck.http.routing import DUCK, NotAllowed, match_path
from duck.settings import views
from duck.settings.frontend import frontend
from duck.wire.h1 import parse_request_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from duck.backend.django.survey import Survey
    from duck.http.core.lane import Lane
    from duck.services.frontend.plan import FrontendPlan
    from duck.settings.load import Settings

STATIC: Final = "static"
MEDIA: Final = "media"
RESERVED: Final = "reserved"
FRONTEND: Final = "frontend"
DJANGO: Final = "django"
NOBODY: Final = "nobody"

FINDERS: Final = "the finders"

_MODULE: Final = b"GET %b HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Dest: script\r\nSec-Fetch-Mode: cors\r\n"
_SAFE: Final = "/%~!$&'()*+,;=:@"


class Answers:
    """The site that a start with `settings` would make; the project is brought up for each question, and ended.

    Raises:
        DuckError: Duck's own side, or the project, cannot be loaded; one sentence.
    """

    def __init__(self, settings: Settings, deadline_s: float) -> None:
        self._settings = settings
        self._deadline_s = deadline_s
        self._view = views.django(settings)
        self._lane = self._load_lane() if settings.is_duck_project else None

    def table(self) -> list[dict[str, Any]]:
        """Every pattern in the order in which it is tried: `side`, `pattern`, `name`, `view`, `methods`."""
        found = self._survey(("facts", "routes"))
        facts = found.parts["facts"] if found is not None else {}
        rows = self._front_end_rows(facts)
        rows += [_row(side, url + "…", view=where) for side, url, where in self._files(facts)]
        if self._reserves(facts):
            rows.append(_row(RESERVED, "/.duck/…", view="Duck's own"))
        if self._lane is not None:
            for route, name, methods, view in self._lane.resolver.listed():
                pattern = "/" + route.removeprefix("/")
                rows.append(_row(DUCK, pattern, name, _name_of(view), sorted(methods) if methods else []))
        if found is not None:
            prefix = self._prefix(facts)
            rows += [
                _row(DJANGO, prefix + route["pattern"], _full_name(route), route["view"])
                for route in found.parts["routes"]
            ]
        elif self._view.address is not None:
            rows.append(_row(DJANGO, "/…", view=f"the server at {self._shown_address()}"))
        return rows

    def of(self, target: str) -> dict[str, Any]:
        """The decision on one path or URL: `path` as routes see it, `side`, `view`, `reason`, and `passed`.

        `passed` has a sentence for each that could have answered before, and did not.
        """
        raw = _raw_path(target)
        path = match_path(raw)
        # Django is sent the path as it came, dot segments and all.
        found = self._survey(("facts", "path"), unquote_to_bytes(raw).decode("utf-8", "replace"))
        facts = found.parts["facts"] if found is not None else {}
        told = found.parts["path"] if found is not None else {}
        passed: list[str] = []
        decided = (
            self._front_end_of(raw, facts)
            or self._file_of(raw, facts, told, passed)
            or self._view_of(raw, path, facts, told)
        )
        return {"path": path, **decided, "passed": passed}

    # -- the front end --------------------------------------------------------------------------------------------

    def _plan(self, facts: dict[str, Any]) -> FrontendPlan | None:
        if not facts.get("debug", True):
            return None
        try:
            return frontend_plan(self._settings)
        except ProjectError:
            return None  # `duck check` and a start say why

    def _front_end_rows(self, facts: dict[str, Any]) -> list[dict[str, Any]]:
        plan = self._plan(facts)
        if plan is None:
            return []
        patterns = [*frontend(self._settings).paths, f"{plan.base}@vite/…"]
        if plan.root:
            patterns.append(f"{plan.base}…, modules in {plan.root}")
        return [_row(FRONTEND, pattern, view=plan.name) for pattern in patterns]

    def _front_end_of(self, raw: bytes, facts: dict[str, Any]) -> dict[str, Any] | None:
        plan = self._plan(facts)
        if plan is None or raw.startswith(b"/.duck/"):
            return None
        paths = FrontendPaths(plan.root, frontend(self._settings).paths)
        paths.base = plan.base
        head = parse_request_head(_MODULE % quote(raw, safe=_SAFE).encode(), b"http")
        decision = paths.decide(head, (facts.get("static") or {}).get("url"))
        if decision is SOURCE:
            reason = f"Asked for as a module it is the source file of that name in {plan.root}."
            return _decision(FRONTEND, plan.name, reason)
        if decision is FIRST:
            return _decision(FRONTEND, plan.name, "It is a path of its own, or FRONTEND_PATHS has it.")
        return None

    # -- one path -------------------------------------------------------------------------------------------------

    def _file_of(
        self, raw: bytes, facts: dict[str, Any], told: dict[str, Any], passed: list[str]
    ) -> dict[str, Any] | None:
        for side, url, where in self._files(facts):
            prefix = url_prefix(url) or url
            if not unquote_to_bytes(raw).startswith(prefix.encode()):
                continue
            name = file_name(raw, prefix)
            setting = f"{side.upper()}_URL"
            file = None
            if name is not None:
                path = told.get("file") if where == FINDERS else os.path.join(where, name)
                file = path if path is not None and os.path.isfile(path) else None
            if file is not None:
                return _decision(side, file, f"{setting} is {url}, and the file is there.")
            why = "no name that may be served" if name is None else f"no file {name} in {where}"
            passed.append(f"{setting} is {url}, and there is {why}: it goes on to the views.")
            break
        return None

    def _view_of(self, raw: bytes, path: str, facts: dict[str, Any], told: dict[str, Any]) -> dict[str, Any]:
        if self._reserves(facts) and raw.startswith(b"/.duck/"):
            return _decision(RESERVED, "Duck's own", "In development /.duck/ is Duck's, while DEBUG is on.")
        if self._lane is not None and self._lane.sides.decide(path) == DUCK:
            return self._own_view(path)
        if not told and self._view.address is None:
            return _decision(NOBODY, "", "There is no Django: Duck answers 404.")
        prefix = views.listening(self._settings).prefix
        if prefix and path != prefix and not path.startswith(prefix + "/"):
            return _decision(NOBODY, "", f"PREFIX is {prefix}, under which this is not: Duck answers 404.")
        why = self._why_django(path)
        if not told:
            return _decision(DJANGO, f"the server at {self._shown_address()}", f"{why}its URLconf is not known here.")
        if told["found"]:
            name = _full_name(told)
            called = f", called {name}" if name else ""
            reason = f"{why}{told['prefix']}{told['pattern']} matches{called}."
            return _decision(DJANGO, told["view"], reason, arguments=told["arguments"])
        if told["slash"]:
            reason = f"{why}no pattern matches; with a slash behind it one does, and CommonMiddleware redirects there."
            return _decision(DJANGO, "", reason)
        return _decision(DJANGO, "", f"{why}no pattern matches: Django answers 404, or a middleware does.")

    def _own_view(self, path: str) -> dict[str, Any]:
        assert self._lane is not None
        match = self._lane.resolver.resolve(path)
        if match is None:
            by = "DUCK_EXPLICIT_URLS says that it is Duck's" if self._explicit(path) else "There is no Django"
            return _decision(DUCK, "", f"{by}, and none of Duck's urlpatterns matches: 404.")
        if isinstance(match, NotAllowed):
            return _decision(
                DUCK, "", f"One of Duck's urlpatterns matches, for {', '.join(sorted(match.methods))} alone."
            )
        reason = f"{match.route} of Duck's urlpatterns matches."
        given = [*match.args, *(f"{name}={value}" for name, value in match.kwargs.items())]
        return _decision(DUCK, _name_of(match.view), reason, arguments=given)

    def _why_django(self, path: str) -> str:
        if self._lane is None:
            return ""
        if _matches(views.sides(self._settings).django_urls, path):
            return "DJANGO_SIDE_URLS says that it is Django's; "
        return "None of Duck's urlpatterns matches; "

    def _explicit(self, path: str) -> bool:
        return _matches(views.sides(self._settings).duck_urls, path)

    # -- what there is --------------------------------------------------------------------------------------------

    def _files(self, facts: dict[str, Any]) -> list[tuple[str, str, str]]:
        """Side, URL and directory of what Duck answers from disk, the longer URL first."""
        wanted, found = views.files(self._settings), []
        static, media = facts.get("static") or {}, facts.get("media") or {}
        if wanted.static and static.get("installed") and url_prefix(str(static["url"] or "")) is not None:
            if facts["debug"] and static["finders"]:
                found.append((STATIC, static["url"], FINDERS))
            elif static["root"]:
                found.append((STATIC, static["url"], static["root"]))
        if wanted.media and media.get("served") and url_prefix(str(media["url"] or "")) is not None:
            found.append((MEDIA, media["url"], media["root"]))
        return sorted(found, key=lambda item: -len(item[1]))

    def _reserves(self, facts: dict[str, Any]) -> bool:
        return not views.production(self._settings).serves and bool(facts.get("debug", True))

    def _prefix(self, facts: dict[str, Any]) -> str:
        prefix = views.listening(self._settings).prefix
        return prefix if prefix is not None else str(facts.get("force_script_name") or "").rstrip("/")

    def _shown_address(self) -> str:
        address = self._view.address
        assert address is not None
        return address if isinstance(address, str) else f"{address[0]}:{address[1]}"

    def _load_lane(self) -> Lane:
        from duck.app.lanes import load_lane

        return load_lane(self._settings, use_django=self._view.use is not False)

    def _survey(self, parts: Sequence[str], path: str | None = None) -> Survey | None:
        """What the project tells of `parts`; None where there is none, or it is a server that runs already.

        Raises:
            ProjectError: it cannot be loaded.
        """
        settings, view = self._settings, self._view
        if view.use is False or view.address is not None:
            return None
        try:
            project = find_project(settings.project_dir, view.project)
        except ProjectError:
            if view.use is None:
                return None
            raise
        found = premises.look_at(
            settings,
            project,
            find_interpreter(project, str(view.python) if view.python is not None else None, os.environ),
            parts,
            deadline_s=self._deadline_s,
            account=premises.account_of(settings)[0],
            path=path,
        )
        for failure in found.failures:
            where = f" at {failure.place}" if failure.place else ""
            raise ProjectError(f"What {project.manage} answers cannot be told: {failure.message}; mend it{where}.")
        return found


def _row(
    side: str, pattern: str, name: str | None = None, view: str = "", methods: Iterable[str] = ()
) -> dict[str, Any]:
    return {"side": side, "pattern": pattern, "name": name, "view": view, "methods": list(methods)}


def _decision(side: str, view: str, reason: str, *, arguments: Iterable[str] = ()) -> dict[str, Any]:
    reason = reason[0].upper() + reason[1:]
    return {"side": side, "view": view, "arguments": [str(one) for one in arguments], "reason": reason}


def _full_name(route: dict[str, Any]) -> str | None:
    """As `reverse` takes it; None for a pattern without a name."""
    if not route["name"]:
        return None
    return f"{route['namespace']}:{route['name']}" if route["namespace"] else str(route["name"])


def _raw_path(target: str) -> bytes:
    """The path of a request for `target`, which is a URL, a path, or a path without its first slash."""
    path = urlsplit(target).path if re.match(r"[a-z]+://", target) else re.split(r"[?#]", target)[0]
    return ("/" + path.removeprefix("/")).encode("utf-8", "surrogateescape")


def _matches(expressions: Iterable[str], path: str) -> bool:
    return any(re.fullmatch(expression, path) for expression in expressions)


def _name_of(view: Callable[..., Any]) -> str:
    name = getattr(view, "__qualname__", type(view).__qualname__)
    return f"{getattr(view, '__module__', type(view).__module__)}.{name}"
