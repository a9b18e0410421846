"""DuckSight's eyes: which file changes matter, when they are over, and whether what was written can be run at all.

kernel, or a look every second  ->  ChangeFilter (pure)  ->  Burst (pure, on the inbox)  ->  one call with the paths

places     where a project keeps what, as its own interpreter tells
kinds      what a changed file is
filter     which directories are looked into, and which files matter; `gitignore` says what Git leaves out
burst      when a change is over; `gathering` waits for it, and leaves out what changes nothing
limits     how many directories the kernel tells of; `duck.services.mounts`, of which it says nothing
inotify, recursive, polling     who sees
sight      DuckSight: all of it together
recovery   RecoveryWatch: for what failed to start, the files named in the failure, wherever they lie
syntax     whether Python files can be compiled
"""

from duck.services.ducksight.burst import Burst
from duck.services.ducksight.filter import ChangeFilter
from duck.services.ducksight.kinds import Kind
from duck.services.ducksight.places import Places
from duck.services.ducksight.recovery import RecoveryWatch, signature
from duck.services.ducksight.sight import DuckSight
from duck.services.ducksight.syntax import syntax_error

__all__ = [
    "Burst",
    "ChangeFilter",
    "DuckSight",
    "Kind",
    "Places",
    "RecoveryWatch",
    "signature",
    "syntax_error",
]
