"""Which file systems say nothing."""

from __future__ import annotations

import sys

import pytest

from duck.services.mounts import Mounts

TEXT = """\
/dev/vda / ext4 rw,relatime 0 0
proc /proc proc rw 0 0
server:/export /home/me/share nfs4 rw,vers=4.2 0 0
/dev/sdb /home/me/share/disk xfs rw 0 0
C:\\\\ /mnt/c 9p rw,aname=drvfs 0 0
me@host:/ /home/me/over\\040ssh fuse.sshfs rw 0 0
/dev/sdc1 /media/stick fuseblk rw 0 0
/run/host_mark/Users /app fakeowner rw 0 0
overlay /var/lib/x overlay rw 0 0
tmpfs /twice tmpfs rw 0 0
shared /twice virtiofs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/site", ""),
        ("/home/me/share/site", "nfs4"),
        ("/home/me/shared", ""),
        ("/home/me/share/disk/site", ""),
        ("/mnt/c/Users", "9p"),
        ("/home/me/over ssh/site", "fuse.sshfs"),
        ("/media/stick/site", ""),
        ("/app/site", "fakeowner"),
        ("/var/lib/x", ""),
        ("/twice", "virtiofs"),
    ],
)
def test_the_nearest_mount_that_lies_on_top_says_it(path: str, kind: str) -> None:
    assert Mounts(TEXT).silent(path) == kind


def test_nothing_is_known_where_the_system_tells_nothing() -> None:
    assert Mounts("").type_of("/x") == ""
    assert Mounts("").silent("/x") == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has /proc/self/mounts")
def test_the_system_is_asked() -> None:
    assert Mounts.read().type_of("/proc/self") == "proc"
