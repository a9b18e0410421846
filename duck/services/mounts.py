"""Mounts: which directories lie on file systems that others write to besides this kernel.

What another machine writes, or the host of a virtual machine or container, passes this kernel by: inotify is silent
there, and neither locks nor shared memory reach to the other side.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

PATH: Final = "/proc/self/mounts"

# Of other machines; of the host of a virtual machine (VirtualBox, VMware, Parallels, QEMU), of Docker Desktop, of WSL.
_FOREIGN: Final = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "drvfs",
        "fakeowner",
        "gpfs",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "orangefs",
        "prl_fs",
        "smb3",
        "smbfs",
        "v9fs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
        "wslfs",
    }
)
_ESCAPE: Final = re.compile(r"\\([0-7]{3})")


class Mounts:
    """What is mounted where.

    Args:
        text: of /proc/self/mounts (proc_pid_mounts(5)): device, directory, type and options a line.
    """

    def __init__(self, text: str) -> None:
        found = dict(_parse(text))  # the last one lies on top
        self._types = sorted(found.items(), key=lambda one: len(one[0]), reverse=True)

    @classmethod
    def read(cls) -> Mounts:
        """As they are now; empty on systems that do not tell."""
        try:
            return cls(Path(PATH).read_text(encoding="utf-8", errors="surrogateescape"))
        except OSError:
            return cls("")

    def type_of(self, path: str) -> str:
        """The type of the file system that holds the absolute `path`; empty where that is not known."""
        return next((kind for where, kind in self._types if _holds(where, path)), "")

    def silent(self, path: str) -> str:
        """The same where the kernel says nothing of changes there; empty otherwise."""
        kind = self.type_of(path)
        return kind if is_foreign(kind) else ""

    def shared(self, path: str) -> str:
        """The same where locks and shared memory do not hold for all who may write there; empty otherwise."""
        return self.silent(path)


def is_foreign(kind: str) -> bool:
    """Whether others may write to a file system of this type, past the kernel."""
    # A program serves FUSE, from anywhere: sshfs, gRPC FUSE, rclone, s3fs. Of a local disk it is `fuseblk`.
    return kind in _FOREIGN or kind == "fuse" or kind.startswith("fuse.")


def _holds(where: str, path: str) -> bool:
    return path == where or path.startswith(where.rstrip("/") + "/")


def _parse(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        parts = line.split(" ")
        if len(parts) >= 3:
            where = _ESCAPE.sub(lambda found: chr(int(found[1], 8)), parts[1])
            yield where.rstrip("/") or "/", parts[2]
