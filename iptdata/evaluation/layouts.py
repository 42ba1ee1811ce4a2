"""The layouts in which benchmarks are published, and how the images of a pair are found in them.

A layout is two folders, a name rule two file names without extension, of the corrupted and of the clean image. `*` is the name
of the image, `{s}` the scale of the task, `{set}` a name that both folders start with. The case of folders, and of what a rule
adds to names, does not matter.
"""

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from iptdata.errors import EvaluateError
from iptdata.files.storage import Storage
from iptdata.files.walk import walk_images

Rule = tuple[str, str]

# A more specific layout comes before one that is part of it.
LAYOUTS: dict[str, tuple[Rule, ...]] = {
    "super-resolution": (
        ("LR_bicubic/X{s}", "HR"),  # EDSR
        ("{set}_LR_bicubic/X{s}", "{set}_HR"),  # DIV2K
        ("LR/x{s}", "HR/x{s}"),  # EDT
        ("LR/x{s}", "HR"),
        ("LRbicx{s}", "GTmod12"),  # BasicSR, ESRGAN
        ("LRbicx{s}", "GT"),
        ("image_SRF_{s}", "image_SRF_{s}"),  # SelfExSR: NAME_SRF_2_LR beside NAME_SRF_2_HR
        ("LR", "HR"),
        ("X{s}", ""),
        ("", ""),
    ),
    "pairs": (
        ("rain/X2", "norain"),  # Rain100H and Rain100L as first published: norain-1x2 is norain-1 with rain
        ("X2", "norain"),
        ("rain", "norain"),
        ("input", "target"),  # Restormer, MPRNet
        ("input", "gt"),
        ("lq", "gt"),
        ("noisy", "clean"),
        ("rainy", "clean"),
        ("data", "gt"),
        ("X2", ""),
        ("", ""),
    ),
    "denoising": (),
}
CLEAN_FOLDERS = ("HR", "HR/x{s}", "{set}_HR", "GTmod12", "")
_ENLARGED: tuple[Rule, ...] = (("*x{s}", "*"), ("*_LR", "*_HR"), ("*_LRBI_x{s}", "*_HR_x{s}"))
_CLEANED: tuple[Rule, ...] = (
    *(("*", "no*"), ("*x2", "*"), ("rain-*", "*"), ("*", "norain-*")),
    *((f"*_{corrupted}", f"*_{clean}") for corrupted in ("rain", "noisy", "lq", "in") for clean in ("clean", "gt")),
    ("*_input", "*_target"),
)
_SELFEXSR = ("*_SRF_{s}_LR", "*_SRF_{s}_HR")  # before all others, since `*_LR` fits its images of every scale
# The rule that fits most images is taken, of several the first.
NAMES: dict[str, tuple[Rule, ...]] = {
    "super-resolution": (("*", "*"), *_ENLARGED),
    "pairs": (("*", "*"), *_CLEANED, *_ENLARGED),
    "denoising": (("*", "*"), *_CLEANED, *_ENLARGED),
}
SCALES = (2, 3, 4, 8)


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The images of a folder.

    Attributes:
        files: Path relative to the storage by name without extension in Unicode's form NFC, sorted by name.
        problems: Entries that cannot be used, one line each.
    """

    files: dict[str, str] = field(default_factory=dict)
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Matched:
    """Images of two folders by the name that a rule gives both.

    Attributes:
        corrupted: Paths of corrupted images by name.
        clean: Paths of clean images by name.
        problems: Entries of the folders that cannot be used, one line each.
    """

    corrupted: dict[str, str]
    clean: dict[str, str]
    problems: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Names that are on both sides."""
        return sorted(self.corrupted.keys() & self.clean.keys())


def list_images(storage: Storage, folder: str = "") -> Listed:
    """List the images of a folder, without those in folders below it.

    Raises:
        EvaluateError: When two of them have the same name.
        StorageError: When the folder cannot be read.
    """
    walked = walk_images(storage, folder, recursive=False)
    found: dict[str, str] = {}
    for image in walked.images:
        name = unicodedata.normalize("NFC", PurePosixPath(image.path).stem)
        if (other := found.setdefault(name, image.path)) != image.path:
            raise EvaluateError(
                f"{other} and {image.path} in {storage.root} have the same name without extension, expected one image of each "
                "name",
                hint="Remove or rename one of them",
            )
    return Listed(
        files=dict(sorted(found.items())), problems=tuple(f"{reject.path}: {reject.detail}" for reject in walked.rejects)
    )


def pairs_in(storage: Storage, kind: str, scale: int) -> Matched | None:
    """The pairs of a benchmark in the first of the published layouts that has some.

    Args:
        storage: The benchmark.
        kind: See `Protocol`.
        scale: Scale of the task.

    Raises:
        EvaluateError: When there are pairs in two layouts that have no image in common.
    """
    found: list[tuple[str, Matched]] = []
    for corrupted, clean in LAYOUTS[kind]:
        for one, other in _existing(storage, (corrupted, clean), scale):
            low = list_images(storage, one)
            matched = match(low, low if one == other else list_images(storage, other), kind, scale, same=one == other)
            if matched is not None:
                name = matched.names[0]
                found.append((f"{matched.corrupted[name]} with {matched.clean[name]}", matched))
    for shown, matched in found[1:]:
        if not set(matched.corrupted.values()) & set(found[0][1].corrupted.values()):
            message = f"{storage.root} has pairs in two layouts: {found[0][0]}, and {shown}"
            raise EvaluateError(message, hint="Pass the folders of one of them as `pairs`")
    return found[0][1] if found else None


def clean_folder(storage: Storage, scale: int) -> str:
    """The folder of a benchmark with its clean images, "" for the benchmark itself."""
    for folder in CLEAN_FOLDERS:
        for one, _ in _existing(storage, (folder, folder), scale):
            if one == "" or list_images(storage, one).files:
                return one
    return ""


def match(corrupted: Listed, clean: Listed, kind: str, scale: int, *, same: bool = False) -> Matched | None:
    """Match the images of two folders by the rule that fits most of them; None if no rule fits any.

    Args:
        corrupted: Images of the first folder.
        clean: Images of the second folder.
        kind: See `Protocol`.
        scale: Scale of the task.
        same: Whether both are the same folder.
    """
    fits = [_by_rule(rule, corrupted.files, clean.files, scale, same) for rule in (_SELFEXSR, *NAMES[kind])]
    best = fits[0] if fits[0].names else max(fits, key=lambda found: len(found.names))
    if not best.names:
        return None
    problems = dict.fromkeys((*corrupted.problems, *clean.problems))
    return Matched(corrupted=best.corrupted, clean=best.clean, problems=tuple(problems))


def pair_among_clean(files: Mapping[str, str]) -> tuple[str, str] | None:
    """Two files of a folder of clean images that look like a pair, whatever the scale, or two that look like corrupted ones."""
    for scale in SCALES:
        found = match(Listed(files=dict(files)), Listed(files=dict(files)), "denoising", scale, same=True)
        if found is not None:
            return found.corrupted[found.names[0]], found.clean[found.names[0]]
    for scale in SCALES:
        for corrupted, _ in (_SELFEXSR, *NAMES["denoising"]):
            names = [name for name in files if _key(corrupted, scale, name)]
            if corrupted != "*" and len(names) == len(files) > 1:
                return files[names[0]], files[names[1]]
    return None


def _by_rule(rule: Rule, corrupted: Mapping[str, str], clean: Mapping[str, str], scale: int, same: bool) -> Matched:
    """Match two folders by one rule; a file that does not fit it keeps its own name, unless it is of another scale.

    In one folder, a file that fits a pattern other than `*` is of that side.
    """
    if same and rule[0] == rule[1]:
        return Matched(corrupted={}, clean={})
    sides = []
    for own, other, files in ((*rule, corrupted), (*rule[::-1], clean)):
        names = [name for name in files if _key(own, scale, name) or not _of_another_scale(own, name)]
        if same and own == "*":
            names = [name for name in names if not _key(other, scale, name) and not _of_another_scale(other, name)]
        elif same:
            names = [name for name in names if _key(own, scale, name)]
        sides.append({_key(own, scale, name) or name: files[name] for name in names})
    return Matched(corrupted=sides[0], clean=sides[1])


def _key(pattern: str, scale: int, name: str) -> str | None:
    """The name of the image in a file name, None if it does not fit the pattern."""
    before, after = pattern.lower().replace("{s}", str(scale)).split("*")
    lower = name.lower()
    fits = lower.startswith(before) and lower.endswith(after) and len(name) > len(before) + len(after)
    return name[len(before) : len(name) - len(after)] if fits else None


def _of_another_scale(pattern: str, name: str) -> bool:
    return "{s}" in pattern and any(_key(pattern, scale, name) for scale in SCALES)


def _existing(storage: Storage, layout: Sequence[str], scale: int) -> Iterator[tuple[str, str]]:
    """The two folders of a layout as they are called in a benchmark, for each `{set}` in it."""
    sets = [""]
    if "{set}" in layout[1]:
        sets = [name[: -len("_hr")] for name in storage.folders() if re.fullmatch(r"(?i).+_hr", name)]
    for name in sets:
        found = [_resolved(storage, folder.replace("{s}", str(scale)).replace("{set}", name)) for folder in layout]
        if found[0] is not None and found[1] is not None:
            yield found[0], found[1]


def _resolved(storage: Storage, folder: str) -> str | None:
    """A folder as it is called in a storage: the exact name, or one that differs in case; None if there is none."""
    path = ""
    for part in filter(None, folder.split("/")):
        names = storage.folders(path)
        found = part if part in names else next((name for name in names if name.lower() == part.lower()), None)
        if found is None:
            return None
        path = f"{path}/{found}".lstrip("/")
    return path
