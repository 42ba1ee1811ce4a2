"""Which members of a tar make a sample, and which of them are the images of its pair: one rule for every reader."""

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from iptdata.errors import ShardError, printable
from iptdata.files.tar_members import TarMember
from iptdata.files.walk import is_image_name

CLEAN_NAMES = ("clean", "target", "gt", "hq", "hr", "norain")
CORRUPTED_NAMES = ("corrupted", "input", "lq", "lr", "noisy", "rain")
_NAMES = frozenset(CLEAN_NAMES + CORRUPTED_NAMES)
_ADJACENT = "Pack the members of each sample adjacent to each other, with `tar --sort=name`, if they are apart"
_LISTED = 8
_MAX_MEMBERS = 1000

T = TypeVar("T")
ReadMember = Callable[[TarMember, str], T]


@dataclass(slots=True)
class Sample(Generic[T]):
    """A sample of a tar: adjacent members with one key.

    Attributes:
        key: What the names of its members have in common, up to a dot.
        files: A value for each member, by its whole name.
        sides: The whole name of each image of a pair, by the known name that it has.
        problem: Why it cannot be used, "" if nothing is known against it.
    """

    key: str
    files: dict[str, T] = field(default_factory=dict)
    sides: dict[str, str] = field(default_factory=dict)
    problem: str = ""

    @property
    def members(self) -> dict[str, T]:
        """The same values by the part of the name after the key: `gt.png`."""
        return {name[len(self.key) + 1 :]: value for name, value in self.files.items()}

    @property
    def has_pair(self) -> bool:
        """Whether it has a clean and a corrupted image, and no problem."""
        return not self.problem and all(_first(names, self.sides) for names in (CLEAN_NAMES, CORRUPTED_NAMES))

    def pair(self) -> tuple[str, str]:
        """The names after the key of the clean and the corrupted image.

        Raises:
            ShardError: When there is not one of each; the message lacks the path of the tar.
        """
        clean, corrupted = (_first(names, self.sides) for names in (CLEAN_NAMES, CORRUPTED_NAMES))
        problem, hint = self.problem, None
        if not problem and not self.has_pair:
            names = list(self.members)
            found = ", ".join(names[:_LISTED]) + (", ..." if len(names) > _LISTED else "")
            expected = f"one of {', '.join(CLEAN_NAMES)} and one of {', '.join(CORRUPTED_NAMES)}"
            problem = f"has {found}; expected {expected}, each as npy or an image"
            hint = _ADJACENT if self.sides else None
        if problem:
            raise ShardError(printable(f"sample {self.key} {problem}", 400), hint=hint)
        return clean[len(self.key) + 1 :], corrupted[len(self.key) + 1 :]

    def takes(self, name: str, key: str, side: str) -> bool:
        """Whether a member with this key belongs to this sample; its side is "" if it is no image of a pair."""
        if side and not self.sides and all(other.startswith(f"{key}.") for other in self.files):
            self.key = key  # so far it had only members whose key ends at the first dot
        return key == self.key or (not side and name.startswith(f"{self.key}."))

    def add(self, member: TarMember, side: str, read: "ReadMember[T]") -> None:
        """Add a member, unless it makes the sample ambiguous or too large."""
        other = self.sides.get(side) or (member.name if member.name in self.files else None)
        if other is not None:
            self.problem = self.problem or f"has two members for {side or 'one name'}: {other} and {member.name}"
        elif len(self.files) >= _MAX_MEMBERS:
            self.problem = self.problem or f"has more than {_MAX_MEMBERS:,} members"
        else:
            self.files[member.name] = read(member, side)
            if side:
                self.sides[side] = member.name


def split_name(name: str) -> tuple[str, str]:
    """The key of a member's sample, and which of the known names it has: `clean`, `lq`; "" if it is no image of a pair.

    The key ends before the last dot that is followed by one of `CLEAN_NAMES` or `CORRUPTED_NAMES` in the name of an image or
    npy file, so a key may have dots: `img.v2.gt.png` is the clean image of `img.v2`. In other names it ends at the first dot,
    as in WebDataset. Dots in folders do not count.
    """
    start = name.rfind("/") + 1
    parts = name[start:].split(".")
    if is_image_name(name) or is_npy(name):
        for index in range(len(parts) - 2, 0, -1):
            if parts[index].lower() in _NAMES:
                return name[:start] + ".".join(parts[:index]), parts[index].lower()
    return name[:start] + parts[0], ""


def group_samples(members: Iterable[TarMember], read: ReadMember[T]) -> Iterator[Sample[T]]:
    """Group adjacent members to samples; where the tar is damaged, the last one only if it has a pair.

    Args:
        members: The members in order; those without a dot in their base name are skipped.
        read: Called with each member, and its name of an image of a pair or "", while it is the current one; returns its value.

    Raises:
        ShardError: When the members end in one.
    """
    sample: Sample[T] | None = None
    try:
        for member in members:
            if "." not in member.name[member.name.rfind("/") + 1 :]:
                continue
            key, side = split_name(member.name)
            if sample is None or not sample.takes(member.name, key, side):
                if sample is not None:
                    yield sample
                sample = Sample(key)
            sample.add(member, side, read)
    except (ShardError, OSError, EOFError, zlib.error):
        if sample is not None and sample.has_pair:
            yield sample
        raise
    if sample is not None:
        yield sample


def _first(names: Iterable[str], sides: Mapping[str, str]) -> str:
    """The member with the first of these names, "" if there is none."""
    return next((sides[name] for name in names if name in sides), "")


def is_npy(name: str) -> bool:
    """Whether a member is an npy file, by its name."""
    return name.lower().endswith(".npy")
