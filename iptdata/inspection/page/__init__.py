"""One self-contained HTML page of a corpus: its summaries and a gallery of pairs. Nothing in it is loaded from anywhere."""

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

from iptdata.inspection import text as texts
from iptdata.inspection.choose import Chosen
from iptdata.inspection.column_stats import ColumnStats
from iptdata.inspection.pair import Pair
from iptdata.units import many

MOST_BYTES = 9_000_000
_BAR, _HEIGHT = 7, 34


class _Card(NamedTuple):
    """A pair of the gallery; pictures as data URLs."""

    title: str
    pair: Pair
    clean: str
    corrupted: str
    label: str
    numbers: dict[str, float]
    facts: dict[str, str]


def page(
    name: str, summaries: Sequence[texts.Summary], chosen: Sequence[Chosen], notes: Sequence[str], most: int | None
) -> str:
    """The page as HTML.

    Args:
        name: of the corpus, for the title.
        notes: what could not be shown.
        most: bytes of pictures, None for no bound; what goes beyond is left out evenly over the recipes, and the page says so.
    """
    cards, left_out = _cards(chosen, most)
    if left_out:
        notes = [
            *notes,
            f"{many(left_out, 'more pair')} of the choice left out to keep the page small; --pairs N shows N of each recipe",
        ]
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
    )


def fragment(summaries: Sequence[texts.Summary], pairs: Sequence[Pair]) -> str:
    """Summaries and pairs for a notebook: HTML without a script, in the notebook's own colours."""
    return _template("fragment.html.j2").render(summaries=summaries, cards=[_card(pair.task, pair) for pair in pairs])


def _cards(chosen: Sequence[Chosen], most: int | None) -> tuple[list[_Card], int]:
    """The first pair of each recipe, then the second of each, and so on while there is room; how many were left out."""
    kept: dict[str, list[_Card]] = {title: [] for title, _, _ in chosen}
    size = left_out = 0
    for row in zip_longest(*([(title, pair) for pair in pairs] for title, _, pairs in chosen)):
        for title, pair in filter(None, row):
            card = _card(title, pair)
            size += len(card.clean) + len(card.corrupted)
            if most is None or size <= most:
                kept[title].append(card)
            else:
                left_out += 1
    return [card for cards in kept.values() for card in cards], left_out


def _card(title: str, pair: Pair) -> _Card:
    hidden = ("offset", "key", "schema", "recipe")
    facts = {key: f"{value:.2f}" if isinstance(value, float) else str(value) for key, value in pair.facts.items()}
    label = pair.facts.get("label")
    psnr = {} if pair.psnr is None or math.isinf(pair.psnr) else {"psnr": round(pair.psnr, 4)}
    return _Card(
        title=title,
        pair=pair,
        clean=_data_url(pair.clean),
        corrupted=_data_url(pair.corrupted),
        label="" if label is None else str(label),
        numbers=psnr | pair.params,
        facts={key: value for key, value in facts.items() if key not in hidden},
    )


def _data_url(image: np.ndarray) -> str:
    done, data = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 9])
    assert done
    return f"data:image/png;base64,{base64.b64encode(data.tobytes()).decode()}"


def histogram(spread: ColumnStats) -> dict[str, object]:
    """Bars for an SVG: x, y and height of each."""
    tallest = max(spread.bins) or 1
    heights = [math.ceil(count / tallest * _HEIGHT) for count in spread.bins]
    bars = [(number * _BAR, _HEIGHT - height, height) for number, height in enumerate(heights) if height]
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
    environment.globals.update(words=texts, histogram=histogram)
    return environment


def _template(name: str) -> jinja2.Template:
    return _environment().get_template(name)


def _file(name: str) -> str:
    return resources.files(__name__).joinpath(name).read_text("utf-8")


def _hash(text: str) -> str:
    """As a content-security policy names an inline element."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
