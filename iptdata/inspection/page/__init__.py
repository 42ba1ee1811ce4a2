"""A self-contained HTML page of a corpus: summaries and a gallery of pairs. It loads nothing from elsewhere."""

import base64
import hashlib
import math
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from itertools import zip_longest
from typing import NamedTuple

import cv2
import jinja2
import numpy as np

from iptdata.errors import printable
from iptdata.image.psnr import PSNR_NOTE
from iptdata.inspection import text as texts
from iptdata.inspection.choose import PairSelection
from iptdata.inspection.column_stats import ColumnStats
from iptdata.inspection.pair import Pair
from iptdata.units import pluralize

MAX_BYTES = 9_000_000
_BAR, _HEIGHT = 7, 34
_MAX_FACT = 500


class _Card(NamedTuple):
    """A pair of the gallery, with its pictures as data URLs."""

    title: str
    pair: Pair
    clean: str
    corrupted: str
    label: str
    values: dict[str, float]
    facts: dict[str, str]


def page(
    name: str,
    summaries: Sequence[texts.Summary],
    selections: Sequence[PairSelection],
    notes: Sequence[str],
    max_bytes: int | None,
    sort: str = "random",
) -> str:
    """Render the page as HTML.

    Args:
        name: Name of the corpus, for the title.
        summaries: Summary of each recipe and split.
        selections: Pairs of the gallery.
        notes: Messages to show at the top.
        max_bytes: Maximum size of all pictures, None for no limit; pairs beyond it are left out evenly over the recipes, with a
            note on the page.
        sort: Order of the pairs as they were selected, for the label of this order.
    """
    cards, left_out = _cards(selections, max_bytes)
    if left_out:
        text = (
            f"{pluralize(left_out, 'selected pair')} left out to keep the page small; set the number of pairs to include them"
        )
        notes = [*notes, text]
    style, script = _file("page.css"), _file("page.js")
    return _template("page.html.j2").render(
        name=name,
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        summaries=summaries,
        cards=cards,
        recipes=sorted({card.title for card in cards}),
        labels=sorted({card.label for card in cards if card.label}),
        parameters=sorted({name for card in cards for name in card.pair.params}),
        notes=notes,
        sort=sort,
    )


def fragment(summaries: Sequence[texts.Summary], pairs: Sequence[Pair]) -> str:
    """Render summaries and pairs for a notebook: HTML without a script, in the notebook's own colours."""
    return _template("fragment.html.j2").render(summaries=summaries, cards=[_card(pair.task, pair) for pair in pairs])


def _cards(selections: Sequence[PairSelection], max_bytes: int | None) -> tuple[list[_Card], int]:
    """The first pair of each recipe, then the second of each, and so on while they fit; and the number left out."""
    kept: dict[str, list[_Card]] = {title: [] for title, _, _ in selections}
    size = left_out = 0
    for row in zip_longest(*([(title, pair) for pair in pairs] for title, _, pairs in selections)):
        for title, pair in filter(None, row):
            card = _card(title, pair)
            size += len(card.clean) + len(card.corrupted)
            if max_bytes is None or size <= max_bytes:
                kept[title].append(card)
            else:
                left_out += 1
    return [card for cards in kept.values() for card in cards], left_out


def _card(title: str, pair: Pair) -> _Card:
    hidden = ("offset", "key", "schema", "recipe")
    facts = {
        key: f"{value:.2f}" if isinstance(value, float) else printable(str(value), _MAX_FACT)
        for key, value in pair.facts.items()
    }
    label = pair.facts.get("label")
    psnr = {} if pair.psnr is None else {"psnr": round(pair.psnr, 4)}
    return _Card(
        title=title,
        pair=pair,
        clean=_data_url(pair.clean),
        corrupted=_data_url(pair.corrupted),
        label="" if label is None else printable(str(label), _MAX_FACT),
        values=psnr | pair.params,
        facts={key: value for key, value in facts.items() if key not in hidden},
    )


def _data_url(image: np.ndarray) -> str:
    done, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"


def histogram(column: ColumnStats) -> dict[str, object]:
    """Bars for an SVG: x, y and height of each."""
    tallest = max(column.bins) or 1
    heights = [math.ceil(count / tallest * _HEIGHT) for count in column.bins]
    bars = [(index * _BAR, _HEIGHT - height, height) for index, height in enumerate(heights) if height]
    return {"bars": bars, "width": len(heights) * _BAR, "height": _HEIGHT, "bar": _BAR - 1}


@lru_cache(maxsize=1)
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(texts=texts, histogram=histogram, psnr_note=PSNR_NOTE)
    return environment


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)


def _file(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """Hash of an inline element in a content security policy."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
