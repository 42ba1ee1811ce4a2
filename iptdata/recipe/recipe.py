"""A validated recipe."""

import dataclasses
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from iptdata import rng
from iptdata.degradations.base import Degradation, Recorded, needs_image
from iptdata.degradations.distribution import Distribution
from iptdata.errors import RecipeError

TASK_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
SCALES = (1, 2, 3, 4, 8)
MAX_PATCH = 2048


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One degradation task.

    Attributes:
        task: name of the task, folder of its shards.
        scale: how many times the clean patch is larger than the corrupted one, in both directions.
        patch_size: height and width of the corrupted patch; the clean one is `patch_size * scale`.
        min_std: a clean patch with a lower standard deviation (0..255, all values) is drawn again, and dropped when
            that does not help.
        steps: name and degradation, applied in order.
    """

    task: str
    description: str = ""
    scale: int = 1
    patch_size: int = 48
    min_std: float = 0.0
    steps: tuple[tuple[str, Degradation], ...]

    def __post_init__(self) -> None:
        _expect(isinstance(self.task, str) and bool(TASK_PATTERN.fullmatch(self.task)), "task", self.task, TASK_PATTERN.pattern)
        _expect(isinstance(self.description, str), "description", self.description, "text")
        _expect(_is_int(self.scale) and self.scale in SCALES, "scale", self.scale, ", ".join(map(str, SCALES)))
        _expect(
            _is_int(self.patch_size) and 1 <= self.patch_size * self.scale <= MAX_PATCH,
            "patch_size",
            self.patch_size,
            f"a whole number from 1 to {MAX_PATCH // self.scale}",
        )
        number = isinstance(self.min_std, (int, float)) and not isinstance(self.min_std, bool)
        _expect(number and 0 <= self.min_std < 128, "min_std", self.min_std, "a number from 0 to 128")
        _expect(len(self.steps) > 0, "steps", [], "at least one degradation")
        for position, (name, step) in enumerate(self.steps):
            if needs_image(step):
                _expect(
                    position == 0, f"steps.{position}", name, "a degradation of patches; this one can only be the first step"
                )
        if self.scale > 1 and not needs_image(self.steps[0][1]):
            raise RecipeError(
                f"steps.0: found {self.steps[0][0]!r}, allowed with scale {self.scale} is one that shrinks, such as 'bicubic'"
            )

    @property
    def clean_size(self) -> int:
        return self.patch_size * self.scale

    @cached_property
    def recorded(self) -> tuple[tuple[int, str, Recorded], ...]:
        """Step number, stored name and description of each recorded value; a second `sigma` is stored as `sigma_2`."""
        found: dict[str, int] = {}
        fields = []
        for position, (_, step) in enumerate(self.steps):
            for field in step.recorded:
                found[field.name] = found.get(field.name, 0) + 1
                name = field.name if found[field.name] == 1 else f"{field.name}_{found[field.name]}"
                fields.append((position, name, field))
        return tuple(fields)

    @cached_property
    def hash(self) -> str:
        """Hash of all that pairs depend on: everything but the description. 32 hexadecimal digits."""
        content = {key: value for key, value in self.plain().items() if key != "description"}
        versions = [step.version for _, step in self.steps]
        return rng.digest(json.dumps([content, versions], sort_keys=True)).hex()

    def plain(self) -> dict[str, Any]:
        """As the YAML file holds it, with every default written out."""
        steps = [{name: _plain_step(step)} for name, step in self.steps]
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"min_std": float(self.min_std), "steps": steps}

    def with_patch_size(self, patch_size: int) -> "Recipe":
        return dataclasses.replace(self, patch_size=patch_size)


def _plain_step(step: Any) -> dict[str, Any]:
    values = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
    return {name: value.plain() if isinstance(value, Distribution) else value for name, value in values.items()}


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _expect(good: bool, key: str, found: object, allowed: str) -> None:
    if not good:
        raise RecipeError(f"{key}: found {found!r}, allowed is {allowed}")
