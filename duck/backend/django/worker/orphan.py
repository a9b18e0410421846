"""A copy of this process that is no child of it, but of the App, which waits for it as for one that it has spawned.

    this process ──fork──> middle ──fork──> copy
         │                   └─ ends, so that the copy goes to the App, which takes orphans (PR_SET_CHILD_SUBREAPER)
         └─ waits for the middle, then lets the copy go on

The copy leads a group of its own before anybody knows of it, so that whoever ends it ends all of it.
"""

from __future__ import annotations

import os


def fork_orphan(parent: int) -> int:
    """0 in the copy, whose parent is `parent`; its process id in this process.

    Raises:
        OSError: the system has no room for it.
    """
    descriptors = list(os.pipe())
    try:
        descriptors += os.pipe()
        middle = os.fork()
    except OSError:
        for descriptor in descriptors:
            os.close(descriptor)
        raise
    go_out, go_in, told_out, told_in = descriptors
    if middle == 0:
        # Whatever fails, no third process must come back from here.
        try:
            copy = os.fork()
            if copy != 0:
                os.setpgid(copy, copy)
                os.write(told_in, str(copy).encode())
                os._exit(0)
            for descriptor in (go_in, told_out, told_in):
                os.close(descriptor)
            # Without the word the process that was to give it has died: nobody knows of this one.
            if not os.read(go_out, 1) or os.getppid() != parent:
                os._exit(1)
            os.close(go_out)
            return 0
        except BaseException:
            os._exit(1)
    os.close(told_in)
    os.close(go_out)
    try:
        told = os.read(told_out, 32)
        os.waitpid(middle, 0)
        if not told:
            raise OSError("the process could not be copied")
        os.write(go_in, b"\n")
    finally:
        os.close(told_out)
        os.close(go_in)
    return int(told)
