"""Processors and memory that this process may use: those of the machine, or of its control groups if that is less.

Containers, `docker --cpus`, Kubernetes limits and systemd slices are control groups. Both versions are read, and every group
from that of the process up to the root of what is mounted, since each of them limits it.
"""

import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/")


def cpus(root: Path = _ROOT) -> int:
    """Number of processors that this process may use, at least 1: its affinity, or its smallest quota, rounded up.

    Args:
        root: Root of the file system, where `proc` and the control groups are read.
    """
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min([found, *(math.ceil(quota) for quota in _cpu_quotas(root))])


def memory_bytes(root: Path = _ROOT) -> int:
    """Memory in bytes that this process may use.

    Args:
        root: Root of the file system, where `proc` and the control groups are read.
    """
    found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for group in _groups("memory", root):
        found = min([found, *_numbers(group / "memory.max"), *_numbers(group / "memory.limit_in_bytes")])
    return found


def _cpu_quotas(root: Path) -> Iterator[float]:
    """Quotas in processors of all groups that have one."""
    for group in _groups("cpu", root):
        second = _numbers(group / "cpu.max")
        first = [*_numbers(group / "cpu.cfs_quota_us"), *_numbers(group / "cpu.cfs_period_us")]
        yield from (limit[0] / limit[1] for limit in (first, second) if len(limit) == 2)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Folders of the control groups of this process that may limit a resource, from its own up to the mounted root."""
    own = {}
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, path = line.split(":", 2)
        own |= dict.fromkeys(controllers.split(","), path)
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, system = line.partition(" - ")
        kind, _, options = (*system.split(" "), "", "")[:3]
        name = "" if kind == "cgroup2" else controller
        if name not in own or not (kind == "cgroup2" or (kind == "cgroup" and controller in options.split(","))):
            continue
        mounted, point = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), text) for text in mount.split(" ")[3:5])
        top = root / point.lstrip("/")
        yield from _upwards(top, own[name], mounted)


def _upwards(top: Path, path: str, mounted: str) -> Iterator[Path]:
    """Folders from a group up to the mount `top`, which shows the hierarchy from `mounted` on.

    A group outside of what is mounted, as containers see it without a namespace of their own, is limited by `top` at least.
    """
    parts = Path(path).parts
    start = Path(mounted).parts
    inside = parts[: len(start)] == start and ".." not in parts
    group = top.joinpath(*parts[len(start) :]) if inside else top
    yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(errors="surrogateescape").splitlines()
    except OSError:  # not Linux, or not readable
        return []


def _numbers(path: Path) -> list[int]:
    """The positive numbers of a file; none if it is missing, or has `max` or -1."""
    words = " ".join(_lines(path)).split()
    return [int(word) for word in words if word.isascii() and word.isdecimal() and int(word) > 0]
