"""What a start needs of the machine, looked at beforehand: user, addresses, directories, descriptors."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from duck.app.address import listen_addresses, port_beside
from duck.app.automation_own import own_source
from duck.app.finding import ERROR, OK, WARNING, Finding
from duck.backend.django.discover import bundle_directory
from duck.backend.django.survey import survey
from duck.exceptions import ApplicationError
from duck.net.descriptors import make_room
from duck.net.listener import remedy_of_low_ports
from duck.services.instance import running_instances
from duck.services.ports import holder_of
from duck.services.privileges import acting_as, obstacles, serving_account
from duck.services.state import run_directory, state_directory
from duck.settings import views
from duck.settings.listen import ListenAddress

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from duck.backend.django.discover import Interpreter, Project
    from duck.backend.django.survey import Survey
    from duck.services.instance import InstanceInfo
    from duck.services.privileges import Account
    from duck.settings.load import Settings


def account_of(settings: Settings) -> tuple[Account | None, Finding | None]:
    """Who would serve, and what is to be said of it."""
    view = views.production(settings)
    if not view.serves:
        return None, None
    try:
        account = serving_account(view.user)
    except ApplicationError as error:
        return None, Finding(ERROR, "user", str(error))
    if account is None:
        return None, None
    if account.is_root:
        return account, Finding(WARNING, "user", "Views would run as root; name another with --user where you can.")
    return account, Finding(OK, "user", f"{account.name} serves.")


def look_at(
    settings: Settings,
    project: Project,
    interpreter: Interpreter,
    parts: Sequence[str],
    *,
    deadline_s: float,
    account: Account | None,
    path: str | None = None,
) -> Survey:
    """What `project` tells of `parts`, brought up as a start with these settings would."""
    view = views.django(settings)
    return survey(
        project,
        interpreter,
        parts,
        deadline_s=deadline_s,
        mode=settings["MODE"],
        settings=view.settings_module,
        wsgi=view.wsgi,
        asgi=view.asgi,
        prefix=views.listening(settings).prefix,
        bundle=bundle_directory(),
        path=path,
        own=own_source(settings),
        account=account,
    )


@contextmanager
def as_account(account: Account | None) -> Iterator[None]:
    """With the rights of who would serve."""
    with ExitStack() as stack:
        if account is not None:
            stack.enter_context(acting_as(account))
        yield


def running(settings: Settings, project: Path, account: Account | None) -> InstanceInfo | None:
    """The Duck that runs for `project` by the same name."""
    try:
        with as_account(account):
            where = run_directory(make=False)
    except ApplicationError:
        return None
    if not where.is_dir():
        return None
    here, name = os.path.realpath(project), settings["NAME"]
    return next((info for info in running_instances(where) if info.project == here and info.name == name), None)


# -- addresses ----------------------------------------------------------------------------------------------------


def addresses(settings: Settings, duck: InstanceInfo | None) -> Iterator[Finding]:
    """Whether Duck could listen where it is told to; `duck` is the one that runs already."""
    if duck is not None:
        yield Finding(
            WARNING,
            "instance",
            f"Duck runs here already, with process id {duck.pid}, and a second start would be refused;"
            " take new code over with `duck reload`, or stop it with `duck stop`.",
        )
    for address in listen_addresses(views.listening(settings)):
        yield _address(address, duck, "--port")
    https = views.https(settings)
    if https.redirect and https.enabled:
        hosts = dict.fromkeys(one.host for one in listen_addresses(views.listening(settings)) if one.scheme == "https")
        for host in hosts:
            yield _address(ListenAddress("http", host=host, port=https.redirect_port), duck, "FORCE_HTTPS_BIND_PORT")
    admin = views.production(settings).admin
    port = settings["PORT"]
    if isinstance(admin, ListenAddress):
        yield _address(admin, duck, "--admin-listen")
    elif admin is not None and 0 < port < 65535 and not settings["LISTEN"]:
        yield _address(
            ListenAddress("http", host="127.0.0.1", port=port_beside(settings, port)), duck, "--admin-listen"
        )


def is_reached_from_outside(address: ListenAddress) -> bool:
    """Whether other machines may connect there; what is handed over is not known."""
    if address.scheme not in ("http", "https"):
        return False
    if address.host == "*":
        return True
    try:
        found = socket.getaddrinfo(address.host, None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return not all(ipaddress.ip_address(str(entry[4][0]).partition("%")[0]).is_loopback for entry in found)


def _address(address: ListenAddress, duck: InstanceInfo | None, option: str) -> Finding:
    if address.scheme == "fd":
        return Finding(OK, "address", f"{address.url} is handed over by whoever starts Duck, and was not looked at.")
    if address.scheme == "unix":
        return _unix(address.path, duck)
    if address.port == 0:
        return Finding(OK, "address", f"A free port is taken on {address.host}.")
    try:
        _bind(address)
    except (socket.gaierror, UnicodeError):
        sentence = f"{address.host!r} is no address of this machine; `localhost` is, and `0.0.0.0` is all of them."
        return Finding(ERROR, "address", sentence)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            remedy = "choose another address or port."
            if error.errno in (errno.EACCES, errno.EPERM):
                remedy = f"{remedy_of_low_ports()}."
            return Finding(ERROR, "address", f"{address.url} cannot be bound ({error.strerror}); {remedy}")
        holder = holder_of(address.host, address.port)
        if duck is not None and holder is not None and _is_of(holder.pid, duck):
            return Finding(OK, "address", f"{address.url} is held by the Duck that runs.")
        who = f" by {holder.name} (process id {holder.pid})" if holder is not None and holder.pid is not None else ""
        return Finding(
            ERROR,
            "address",
            f"Port {address.port} on {address.host} is in use{who}; choose another with {option}, or end that.",
        )
    return Finding(OK, "address", f"{address.url} is free.")


def _bind(address: ListenAddress) -> None:
    """Bind and let go at once; nobody can connect meanwhile, for nothing listens."""
    failure: OSError | None = None
    bound = False
    for family, kind, protocol, _, where in socket.getaddrinfo(
        None if address.host == "*" else address.host,
        address.port,
        type=socket.SOCK_STREAM,
        proto=socket.IPPROTO_TCP,
        flags=socket.AI_PASSIVE,
    ):
        try:
            with socket.socket(family, kind, protocol) as probe:
                if os.name == "posix":
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                probe.bind(where)
                bound = True
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise
            failure = error  # of `localhost` one address is enough, where the other is no address of this machine
    if not bound and failure is not None:
        raise failure


def _is_of(pid: int | None, duck: InstanceInfo) -> bool:
    if pid is None:
        return False
    try:
        return pid == duck.pid or any(parent.pid == duck.pid for parent in psutil.Process(pid).parents())
    except psutil.Error:
        return False


def _unix(path: str, duck: InstanceInfo | None) -> Finding:
    directory = os.path.dirname(os.path.abspath(path))
    if duck is not None and any(address.endswith(path) for address in duck.addresses):
        return Finding(OK, "address", f"unix:{path} is held by the Duck that runs.")
    try:
        is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
    except FileNotFoundError:
        if not os.path.isdir(directory):
            return Finding(ERROR, "address", f"unix:{path} cannot be made: there is no directory {directory}; make it.")
    except OSError as error:
        return Finding(ERROR, "address", f"unix:{path} cannot be looked at ({error.strerror}); choose another path.")
    else:
        if not is_socket:
            return Finding(ERROR, "address", f"{path} is a file and no socket; remove it, or choose another path.")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1)
            if probe.connect_ex(path) == 0:
                return Finding(ERROR, "address", f"The socket {path} is in use; choose another path.")
    if not _may(directory, os.W_OK | os.X_OK):
        sentence = f"unix:{path} cannot be made: {directory} may not be written to; choose another path."
        return Finding(ERROR, "address", sentence)
    return Finding(OK, "address", f"unix:{path} is free.")


# -- directories --------------------------------------------------------------------------------------------------


def directories(settings: Settings, project: Path, account: Account | None) -> Iterator[Finding]:
    """The directories that Duck writes to, and the project that it reads."""
    with as_account(account):
        try:
            yield Finding(OK, "run directory", f"{run_directory(make=False)} can be used.")
        except ApplicationError as error:
            yield Finding(ERROR, "run directory", str(error))
        if settings["STATE_DIR"] is not None:
            try:
                path = state_directory(settings["STATE_DIR"], project=project, make=False)
                yield Finding(OK, "state directory", f"{path} can be used.")
            except ApplicationError as error:
                yield Finding(ERROR, "state directory", str(error))
        yield _spool(settings)
    if account is not None:
        found = obstacles(account, {"the project": project})
        yield from (Finding(ERROR, "permissions", sentence) for sentence in found)
        if not found:
            yield Finding(OK, "permissions", f"{account.name} may read {project}.")


def _spool(settings: Settings) -> Finding:
    directory = settings["SPOOL_DIR"]
    name = "SPOOL_DIR" if directory is not None else "the system's directory for temporary files"
    try:
        path = Path(directory) if directory is not None else Path(tempfile.gettempdir())
    except OSError as error:
        return Finding(ERROR, "spool", f"There is no directory for large bodies ({error.strerror}); set SPOOL_DIR.")
    if not path.is_dir():
        return Finding(ERROR, "spool", f"{path} ({name}) is no directory; make it, or set SPOOL_DIR to one that is.")
    if not _may(path, os.W_OK | os.X_OK):
        return Finding(ERROR, "spool", f"{path} ({name}) may not be written to; set SPOOL_DIR to one that may.")
    free = psutil.disk_usage(str(path)).free
    wanted = settings["MAX_SPOOL_BYTES"]
    if free < wanted:
        return Finding(
            WARNING,
            "spool",
            f"{path} has {free / 1e9:.1f} GB left and MAX_SPOOL_BYTES is {wanted / 1e9:.1f} GB; lower it, or set"
            " SPOOL_DIR to a file system with more room.",
        )
    return Finding(OK, "spool", f"{path} has room for large bodies.")


def readable(account: Account | None, needed: Mapping[str, str]) -> list[Finding]:
    """What of `needed`, paths by what they are, who would serve could not read."""
    if account is not None:
        return [Finding(ERROR, "permissions", sentence) for sentence in obstacles(account, needed)]
    return [
        Finding(ERROR, "permissions", f"{what} {path} may not be read by the user who runs this; give it the right.")
        for what, path in needed.items()
        if not _may(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0))
    ]


def _may(path: str | os.PathLike[str], how: int) -> bool:
    return os.access(path, how, effective_ids=os.access in os.supports_effective_ids)


# -- the rest -----------------------------------------------------------------------------------------------------


def descriptors(settings: Settings) -> Finding:
    """Whether the limit of open files lets so many clients connect; raises that of this process, as a start does."""
    wanted = settings["MAX_CONNECTIONS"]
    room = make_room(wanted)
    if room >= wanted:
        return Finding(OK, "descriptors", f"There is room for MAX_CONNECTIONS, which is {wanted}.")
    limit = ""
    if sys.platform != "win32":
        import resource

        limit = f" of {resource.getrlimit(resource.RLIMIT_NOFILE)[1]}"
    return Finding(
        WARNING if settings.is_given("MAX_CONNECTIONS") else OK,  # at its default nobody has asked for so many
        "descriptors",
        f"The limit of open files{limit} leaves room for {room} connections in a process, and MAX_CONNECTIONS is"
        f" {wanted}; raise it (`ulimit -Hn`, LimitNOFILE), or lower the setting.",
    )
