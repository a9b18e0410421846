"""What this process may use of the machine, read from trees of files such as kernels and container engines make."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from duck.exceptions import SettingsError
from duck.services.machine import cpu_quota, django_workers, memory_limit, processors, workers

Count = Callable[..., int]

GIB = 1 << 30
V2 = "30 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = (
    "32 31 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
)
UNLIMITED = "9223372036854771712\n"


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, text in {"proc/meminfo": f"MemTotal:       {16 * GIB // 1024} kB\n", **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def version2(root: Path, group: str, files: Mapping[str, str], mounts: str = V2) -> Path:
    (root / "sys/fs/cgroup" / group.strip("/")).mkdir(parents=True, exist_ok=True)
    limits = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    return tree(root, {"proc/self/cgroup": f"0::{group}\n", "proc/self/mountinfo": mounts, **limits})


def version1(root: Path, group: str, files: Mapping[str, str], top: str = "/") -> Path:
    said = f"5:memory:{group}\n3:cpu,cpuacct:{group}\n1:name=systemd:/\n"
    limits = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    return tree(root, {"proc/self/cgroup": said, "proc/self/mountinfo": V1.format(top=top), **limits})


class TestProcessors:
    @pytest.mark.parametrize(
        ("cpu_max", "affinity", "expected"),
        [
            ("max 100000\n", 8, 8),
            ("150000 100000\n", 8, 2),  # rounded up
            ("100000 100000\n", 8, 1),
            ("25000 100000\n", 8, 1),  # at least one
            ("850000 100000\n", 4, 4),  # bound to fewer than the quota has
            ("20000 10000\n", 8, 2),  # another period
            ("200000\n", 8, 2),  # the period that the kernel has where none is written
            ("nonsense\n", 8, 8),
        ],
    )
    def test_the_fewer_of_quota_and_affinity_count(
        self, tmp_path: Path, cpu_max: str, affinity: int, expected: int
    ) -> None:
        root = version2(tmp_path, "/", {"cpu.max": cpu_max})
        assert processors(root, affinity) == expected

    def test_an_ancestors_quota_binds_its_descendants(self, tmp_path: Path) -> None:
        files = {
            "kubepods/cpu.max": "400000 100000\n",
            "kubepods/pod1/cpu.max": "150000 100000\n",
            "kubepods/pod1/web/cpu.max": "max 100000\n",
            "kubepods/pod2/cpu.max": "10000 100000\n",  # somebody else's
        }
        assert cpu_quota(version2(tmp_path, "/kubepods/pod1/web", files)) == 1.5

    def test_a_group_that_is_not_visible_is_the_top_of_what_is(self, tmp_path: Path) -> None:
        root = version2(tmp_path, "/", {"cpu.max": "300000 100000\n"})
        (root / "proc/self/cgroup").write_text("0::/../../elsewhere\n")
        assert cpu_quota(root) == 3
        (root / "proc/self/cgroup").write_text("0::/docker/0123\n")
        assert cpu_quota(root) == 3

    def test_version_1_has_quota_and_period_in_two_files(self, tmp_path: Path) -> None:
        files = {
            "cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
            "cpu,cpuacct/cpu.cfs_period_us": "100000\n",
            "cpu,cpuacct/app/cpu.cfs_quota_us": "250000\n",
            "cpu,cpuacct/app/cpu.cfs_period_us": "100000\n",
        }
        assert processors(version1(tmp_path, "/app", files), 16) == 3

    def test_a_container_of_version_1_sees_its_group_alone_under_the_hosts_path(self, tmp_path: Path) -> None:
        files = {"cpu,cpuacct/cpu.cfs_quota_us": "50000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
        assert cpu_quota(version1(tmp_path, "/docker/0123", files, top="/docker/0123")) == 0.5

    def test_a_machine_with_both_versions_has_the_controller_in_version_1(self, tmp_path: Path) -> None:
        files = {"cpu,cpuacct/cpu.cfs_quota_us": "200000\n", "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}
        root = version1(tmp_path, "/", files)
        with (root / "proc/self/cgroup").open("a") as said:
            said.write("0::/user.slice\n")
        with (root / "proc/self/mountinfo").open("a") as mounts:
            mounts.write("41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n")
        assert cpu_quota(root) == 2

    def test_mount_points_with_blanks_are_found(self, tmp_path: Path) -> None:
        mounts = V2.replace("/sys/fs/cgroup", "/sys/fs/c\\040group")
        root = tree(
            tmp_path,
            {"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": mounts, "sys/fs/c group/cpu.max": "100000 100000\n"},
        )
        assert cpu_quota(root) == 1

    def test_no_control_groups_are_no_limit(self, tmp_path: Path) -> None:
        assert cpu_quota(tmp_path) is None
        assert memory_limit(tmp_path) is None
        assert processors(tmp_path, 6) == 6

    @pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process cannot be bound to processors here")
    def test_a_bound_process_counts_what_it_is_bound_to(self) -> None:
        script = (
            "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
            "from duck.services.machine import processors; print(processors())"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
        assert done.stdout == "1\n"


class TestMemory:
    def test_the_least_of_the_group_and_its_ancestors_counts(self, tmp_path: Path) -> None:
        files = {"a/memory.max": f"{2 * GIB}\n", "a/b/memory.max": f"{3 * GIB}\n", "a/b/memory.high": "max\n"}
        assert memory_limit(version2(tmp_path, "/a/b", files)) == 2 * GIB

    def test_what_slows_counts_as_what_kills(self, tmp_path: Path) -> None:
        files = {"a/memory.max": f"{2 * GIB}\n", "a/memory.high": f"{GIB}\n"}
        assert memory_limit(version2(tmp_path, "/a", files)) == GIB

    @pytest.mark.parametrize("said", ["max\n", f"{64 * GIB}\n"])
    def test_a_limit_above_the_machine_is_none(self, tmp_path: Path, said: str) -> None:
        assert memory_limit(version2(tmp_path, "/a", {"a/memory.max": said})) is None

    def test_version_1_writes_no_limit_as_a_number(self, tmp_path: Path) -> None:
        files = {"memory/memory.limit_in_bytes": UNLIMITED}
        root = version1(tmp_path, "/", files)
        assert memory_limit(root) is None
        (root / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text(f"{GIB}\n")
        assert memory_limit(root) == GIB
        (root / "proc/meminfo").unlink()
        (root / "sys/fs/cgroup/memory/memory.limit_in_bytes").write_text(UNLIMITED)
        assert memory_limit(root) is None


class TestWorkers:
    @pytest.mark.parametrize(("affinity", "front", "django"), [(1, 1, 1), (2, 1, 2), (4, 1, 4), (5, 2, 5), (16, 4, 16)])
    def test_auto_goes_by_the_processors(self, tmp_path: Path, affinity: int, front: int, django: int) -> None:
        assert workers("auto", {}, root=tmp_path, affinity=affinity) == front
        assert django_workers("auto", {}, root=tmp_path, affinity=affinity) == django

    def test_auto_is_no_more_processes_than_have_room(self, tmp_path: Path) -> None:
        root = version2(tmp_path, "/", {"memory.max": f"{GIB // 2}\n"})
        assert django_workers("auto", {}, root=root, affinity=64) == 4
        assert workers("auto", {}, root=root, affinity=64) == 1
        (root / "sys/fs/cgroup/memory.max").write_text("1048576\n")
        assert django_workers("auto", {}, root=root, affinity=64) == 1

    def test_web_concurrency_is_what_auto_means_where_it_is_set(self, tmp_path: Path) -> None:
        environ = {"WEB_CONCURRENCY": "3"}
        assert workers("auto", environ, root=tmp_path, affinity=64) == 3
        assert django_workers("auto", environ, root=tmp_path, affinity=64) == 3
        assert workers("auto", {"WEB_CONCURRENCY": ""}, root=tmp_path, affinity=4) == 1

    def test_a_number_is_that_number(self, tmp_path: Path) -> None:
        assert workers(7, {"WEB_CONCURRENCY": "3"}, root=tmp_path, affinity=1) == 7
        assert django_workers(7, {"WEB_CONCURRENCY": "x"}, root=tmp_path, affinity=1) == 7

    @pytest.mark.parametrize("said", ["0", "-1", "many", "1.5", "²"])
    @pytest.mark.parametrize("count", [workers, django_workers])
    def test_a_web_concurrency_that_is_no_number_is_told(self, tmp_path: Path, count: Count, said: str) -> None:
        with pytest.raises(SettingsError, match=r"WEB_CONCURRENCY is .*give a number"):
            count("auto", {"WEB_CONCURRENCY": said}, root=tmp_path, affinity=1)
