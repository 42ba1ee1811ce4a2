"""Processors and memory of containers, read from trees of files such as Linux shows them."""

import os
from pathlib import Path

import pytest

from iptdata.machine import cpus, memory_bytes

V1 = "9:name=systemd:/\n4:memory:{group}\n2:cpu,cpuacct:{group}\n0::/\n"
V1_MOUNTS = (
    "33 31 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "36 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
V2 = "0::{group}\n"
V2_MOUNTS = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n"


@pytest.fixture(autouse=True)
def eight_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)


def tree(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    for name, text in {"proc/self/cgroup": groups, "proc/self/mountinfo": mounts, **files}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def v1(folder: str, quota: object, period: object = 100_000) -> dict[str, str]:
    cpu = f"sys/fs/cgroup/cpu,cpuacct{folder}"
    return {f"{cpu}/cpu.cfs_quota_us": f"{quota}\n", f"{cpu}/cpu.cfs_period_us": f"{period}\n"}


def v2(folder: str, text: str) -> dict[str, str]:
    return {f"sys/fs/cgroup{folder}/cpu.max": f"{text}\n"}


@pytest.mark.parametrize(
    ("group", "mounted", "files", "expected"),
    [
        ("/", "/", {}, 8),
        ("/", "/", v1("", -1), 8),
        ("/a", "/", v1("/a", 50_000), 1),
        ("/a", "/", v1("/a", 150_000), 2),
        ("/a", "/", v1("/a", 10_000, 10_000), 1),
        ("/a", "/", v1("/a", 6_400_000), 8),
        ("/a/b/c", "/", v1("/a", 250_000) | v1("/a/b", -1) | v1("/a/b/c", 400_000), 3),
        ("/docker/id", "/docker/id", v1("", 200_000), 2),
        ("/docker/id/inner", "/docker/id", v1("", 500_000) | v1("/inner", 100_000), 1),
        ("/elsewhere", "/docker/id", v1("", 200_000), 2),
        ("/../..", "/", v1("", 200_000), 2),
        ("/a", "/", v1("/a", "torn"), 8),
        ("/a", "/", v1("/a", 50_000, 0), 8),
    ],
)
def test_quotas_of_version_1(tmp_path: Path, group: str, mounted: str, files: dict[str, str], expected: int) -> None:
    assert cpus(tree(tmp_path, V1.format(group=group), V1_MOUNTS.format(root=mounted), files)) == expected


@pytest.mark.parametrize(
    ("group", "mounted", "files", "expected"),
    [
        ("/", "/", {}, 8),
        ("/a", "/", v2("/a", "max 100000"), 8),
        ("/a", "/", v2("/a", "50000 100000"), 1),
        ("/a.slice/b.scope", "/", v2("/a.slice", "300000 100000") | v2("/a.slice/b.scope", "max 100000"), 3),
        ("/a/b", "/", v2("/a", "90000 20000") | v2("/a/b", "1000 100000"), 1),
        ("/kubepods/pod", "/kubepods/pod", v2("", "120000 100000"), 2),
        ("/", "/", v2("", "120000 100000"), 2),
        ("/a", "/", v2("/a", ""), 8),
    ],
)
def test_quotas_of_version_2(tmp_path: Path, group: str, mounted: str, files: dict[str, str], expected: int) -> None:
    assert cpus(tree(tmp_path, V2.format(group=group), V2_MOUNTS.format(root=mounted), files)) == expected


def test_mount_points_with_spaces(tmp_path: Path) -> None:
    mounts = "30 23 0:26 / /my\\040groups rw - cgroup2 cgroup2 rw\n"
    assert cpus(tree(tmp_path, "0::/a b\n", mounts, {"my groups/a b/cpu.max": "50000 100000"})) == 1


def test_a_machine_without_control_groups(tmp_path: Path) -> None:
    assert cpus(tmp_path) == 8
    assert memory_bytes(tmp_path) == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def test_memory_is_that_of_the_smallest_group(tmp_path: Path) -> None:
    first = tree(
        tmp_path / "v1",
        V1.format(group="/a/b"),
        V1_MOUNTS.format(root="/"),
        {
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4096000",
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "8192000",
        },
    )
    assert memory_bytes(first) == 4_096_000
    limits = {"sys/fs/cgroup/a/memory.max": "max", "sys/fs/cgroup/memory.max": "5000000"}
    assert memory_bytes(tree(tmp_path / "v2", V2.format(group="/a"), V2_MOUNTS.format(root="/"), limits)) == 5_000_000
