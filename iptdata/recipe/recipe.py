"""The recipe of a degradation task, validated."""

import dataclasses
import json
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from iptdata import rng
from iptdata.degradations.base import Degradation, Recorded, needs_image
from iptdata.degradations.distribution import Distribution
from iptdata.errors import RecipeError, shown
from iptdata.options import option, validate

TASK_PATTERN = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
# No control characters, line separators, marks that change the direction of text, or surrogates.
_DESCRIPTION = r"[^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]{0,1000}"
MAX_STEPS = 100
_MAX_NAME = 60  # letters of a recorded value, whose name becomes a column
SCALES = (1, 2, 3, 4, 8)
MAX_PATCH = 2048


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """One degradation task.

    Attributes:
        task: Name of the task, and of the folder of its shards.
        description: Short description, shown in lists and dataset cards; pairs do not depend on it.
        scale: How many times larger the clean patch is than the corrupted one, in both directions.
        patch_size: Height and width of the corrupted patch in pixels; the clean one is `patch_size * scale`.
        min_std: A clean patch with a lower standard deviation (0..255, all values) is drawn again, up to 16 times, and then
            dropped.
        steps: Name and degradation of each step, in order.

    Raises:
        RecipeError: When a value is not allowed; the message names the key.
    """

    task: str = option(
        help="Name of the task and of its folder.",
        pattern=TASK_PATTERN.pattern,
        expects="lower-case letters, digits, _ and -, at most 32, not beginning with _ or -",
    )
    description: str = option("", help="Short description.", pattern=_DESCRIPTION, expects="at most 1,000 printable characters")
    scale: int = option(1, help="How many times larger the clean patch is.", choices=dict.fromkeys(SCALES, ""))
    patch_size: int = option(48, help="Side of the corrupted patch.", unit="pixels", min=1, max=MAX_PATCH)
    min_std: float = option(0.0, help="Draw a clean patch again when its standard deviation is lower.", min=0, below=128)
    steps: tuple[tuple[str, Degradation], ...]

    def __post_init__(self) -> None:
        validate(self, RecipeError)
        if self.clean_size > MAX_PATCH:
            raise RecipeError(
                f"found {self.patch_size}, expected a whole number from 1 to {MAX_PATCH // self.scale} with scale {self.scale}",
                argument="patch_size",
            )
        if not self.steps:
            raise RecipeError("found [], expected at least one degradation", argument="steps")
        if len(self.steps) > MAX_STEPS:
            raise RecipeError(f"found {len(self.steps):,}, expected at most {MAX_STEPS} degradations", argument="steps")
        for position, (name, step) in enumerate(self.steps):
            if needs_image(step) and position > 0:
                raise RecipeError(f"steps.{position}: found {name!r}, which must be the first step")
            for field in step.recorded:
                if not (field.name.isidentifier() and field.name.isascii() and len(field.name) <= _MAX_NAME):
                    found = shown(field.name)
                    raise RecipeError(
                        f"steps.{position}: {name!r} records {found}, expected at most {_MAX_NAME} letters, digits and _"
                    )
        if self.scale > 1 and not needs_image(self.steps[0][1]):
            raise RecipeError(
                f"steps.0: found {self.steps[0][0]!r}, expected a degradation that shrinks for scale {self.scale}, such as "
                f"'bicubic'"
            )

    @property
    def clean_size(self) -> int:
        """Height and width of the clean patch in pixels."""
        return self.patch_size * self.scale

    @cached_property
    def recorded(self) -> tuple[tuple[int, str, Recorded], ...]:
        """Step index, stored name and declaration of each recorded value; a second `sigma` is stored as `sigma_2`."""
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
        """Hash of everything that pairs depend on, which is all but the description: 32 hexadecimal digits."""
        content = {key: value for key, value in self.plain().items() if key != "description"}
        versions = [step.version for _, step in self.steps]
        return rng.digest(json.dumps([content, versions], sort_keys=True)).hex()

    def plain(self) -> dict[str, Any]:
        """The content of the YAML file, with all defaults filled in."""
        steps = [{name: _plain_step(step)} for name, step in self.steps]
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields | {"steps": steps}

    def with_patch_size(self, patch_size: int) -> "Recipe":
        """A copy with another patch size.

        Raises:
            RecipeError: When the size is not allowed.
        """
        return dataclasses.replace(self, patch_size=patch_size)


def _plain_step(step: Any) -> dict[str, Any]:
    values = {field.name: getattr(step, field.name) for field in dataclasses.fields(step)}
    return {name: value.plain() if isinstance(value, Distribution) else value for name, value in values.items()}
