"""The dataset card of a corpus: `README.md` with front matter for Hugging Face."""

import json
import math
import shlex
from collections.abc import Sequence
from typing import Any, Protocol

from iptdata.errors import RecipeError
from iptdata.image.psnr import PSNR_NOTE
from iptdata.recipe import load_recipes
from iptdata.shards.generations import Generation
from iptdata.source.terms import IMAGENET


class Totals(Protocol):
    """The facts about a recipe and split that the card needs."""

    task: str
    split: str
    identity: dict[str, Any]
    shards: int
    pairs: int
    bytes: int

    generations: list[Generation]

    @property
    def psnr_text(self) -> str: ...


_SIZES = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M", "10M<n<100M", "100M<n<1B", "n>1B")

_IMAGENET_TERMS = "https://image-net.org/download"
_IMAGENET_LICENSE = ["license_name: imagenet-terms-of-access", f"license_link: {_IMAGENET_TERMS}"]
_IMAGENET_TEXT = f"""
The images are from ImageNet. They belong to their copyright holders; ImageNet provides them for non-commercial research and
education only, under its [terms of access]({_IMAGENET_TERMS}). Patches cut from them fall under the same terms: whoever uses
this corpus must have accepted them.
"""
_EXTENDED = """\
Run these in order, in the folder that holds the sources, each with the images that its source had then: `sources/` has
their names."""
_TEMPLATE = """\
# Pairs of corrupted and clean patches

Built with iptdata from {sources}. The patches are parts of those images: the licence of the images applies to this corpus too.
{terms}
{table}

{psnr_note}.

Each pair is three members of a tar: `KEY.clean.npy` and `KEY.corrupted.npy` (uint8, RGB, height x width x 3) and `KEY.json`
(recipe, label, crop box, drawn parameters). Each tar has a Parquet manifest with one row per pair; `corpus.json` holds the
recipes in full, `rejects.parquet` the dropped images and the reasons.

## Recipes

{recipes}

## Rebuild

{commands}

{where}
The same images, options and versions of the decoding libraries ({decoders}) produce the same bytes.

## Read

```python
import webdataset as wds

shards = "{shards}"
pairs = wds.WebDataset(shards, shardshuffle=False).decode().to_tuple("clean.npy", "corrupted.npy", "json")

for clean, corrupted, record in pairs:
    print(record["key"], record["params"])
    print("clean", clean.shape, clean.dtype, "corrupted", corrupted.shape, corrupted.dtype)
    break
```
"""


def dataset_card(totals: Sequence[Totals]) -> str:
    """The text of the card of a corpus with these recipes and splits."""
    if not totals:
        return "# Empty corpus\n"
    sources = sorted({identity["source"]["description"] for total in totals for identity in _identities(total)})
    decoders = totals[0].identity["decoders"]
    first = totals[0]
    name = f"{first.task}/{first.split}/{first.task}-{first.split}"
    last = f"{first.shards - 1:06d}"
    text = _TEMPLATE.format(
        sources=" and ".join(sources),
        terms=_IMAGENET_TEXT if _is_of_imagenet(totals) else "",
        table=_table(totals),
        psnr_note=PSNR_NOTE,
        recipes=_recipes(totals),
        commands=_commands(totals),
        where=_EXTENDED
        if any(len(total.generations) > 1 for total in totals)
        else "Run this in the folder that holds the source, or give its path.",
        decoders=", ".join(f"{library} {version}" for library, version in decoders.items()),
        shards=f"{name}-000000.tar" if first.shards == 1 else f"{name}-{{000000..{last}}}.tar",
    )
    return _front_matter(totals) + text


def _front_matter(totals: Sequence[Totals]) -> str:
    pairs = sum(total.pairs for total in totals)
    size = _SIZES[min(max(int(math.log10(max(pairs, 1))) - 2, 0), len(_SIZES) - 1)]
    lines = ["---", "license: other", *(_IMAGENET_LICENSE if _is_of_imagenet(totals) else [])]
    lines += ["task_categories: [image-to-image]", "tags: [webdataset, image-restoration]"]
    lines += [f"size_categories: ['{size}']", "configs:"]
    for task in dict.fromkeys(total.task for total in totals):
        lines += [f"- config_name: {task}", "  data_files:"]
        for total in totals:
            if total.task == task:
                lines += [f"  - split: {total.split}", f"    path: {task}/{total.split}/*.tar"]
    return "\n".join([*lines, "---", "", ""])


def _is_of_imagenet(totals: Sequence[Totals]) -> bool:
    return any(identity["source"].get("terms") == IMAGENET for total in totals for identity in _identities(total))


def _table(totals: Sequence[Totals]) -> str:
    lines = ["| recipe | split | pairs | shards | bytes | PSNR (dB) |", "| --- | --- | ---: | ---: | ---: | ---: |"]
    for total in totals:
        lines.append(
            f"| {total.task} | {total.split} | {total.pairs:,} | {total.shards:,} | {total.bytes:,} | {total.psnr_text} |"
        )
    return "\n".join(lines)


def _recipes(totals: Sequence[Totals]) -> str:
    lines = []
    for total in totals:
        recipe = total.identity["recipe"]
        steps = "; ".join(f"{name} {json.dumps(values)}" for step in recipe["steps"] for name, values in step.items())
        size = f"corrupted {recipe['patch_size']} pixels, scale {recipe['scale']}"
        lines.append(f"- `{total.task}`: {recipe['description'] or 'no description'}; {size}; {steps}.")
    return "\n".join(dict.fromkeys(lines))


def _commands(totals: Sequence[Totals]) -> str:
    """One command per generation and group of recipes with the same options."""
    groups: dict[tuple[int, int, str], list[str]] = {}
    for total in totals:
        for generation, identity in enumerate(_identities(total)):
            tasks = groups.setdefault((generation, identity["source"].get("images", 0), _options(identity)), [])
            name = _recipe_name(total)
            if name not in tasks:
                tasks.append(name)
    extended = any(generation for generation, _, _ in groups)
    lines = []
    for (generation, images, options), tasks in sorted(groups.items(), key=lambda group: group[0][0]):
        if extended:
            lines.append(f"# {images:,} {'more ' if generation else ''}images")
        extend = "--extend " if generation else ""
        lines.append(f"iptdata build {extend}{' '.join(f'--recipe {task}' for task in tasks)} {options}")
    return "```sh\n" + "\n".join(lines) + "\n```"


def _identities(total: Totals) -> list[dict[str, Any]]:
    """The identity of each generation."""
    return [generation.identity for generation in total.generations] or [total.identity]


def _recipe_name(total: Totals) -> str:
    """The name of a shipped recipe, else the recipe file in the folder of the shards."""
    try:
        shipped = load_recipes([total.task])[0]
    except RecipeError:
        shipped = None
    size = total.identity["recipe"]["patch_size"]
    if shipped and shipped.with_patch_size(size).hash == total.identity["recipe_hash"]:
        return total.task
    return f"{total.task}/{total.split}/recipe.yaml"


def _options(identity: dict[str, Any]) -> str:
    """Every build option that the identity records and that is not off, as the command line spells it."""
    options = identity["options"] | {name: identity[name] for name in ("seed", "patches_per_image")}
    parts = ["--source", shlex.quote(identity["source"]["option"])]
    parts += ["--patch-size", str(identity["recipe"]["patch_size"])]
    settings = identity["source"].get("settings", {})
    for name, value in sorted((options | settings).items()):
        if value or name in settings:
            parts += [f"--{name.replace('_', '-')}"] + ([] if value is True else [shlex.quote(str(value))])
    return " ".join(parts)
