"""Make the pictures in docs/pictures, from the sample photos. Needs chromium for those of the terminal and the page.

make docs-pictures
"""

import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright
from rich.console import Console

from iptdata.builder import build
from iptdata.cli.views.pairs import print_pairs
from iptdata.cli.views.summary import print_summaries
from iptdata.inspection.choose import choose
from iptdata.inspection.ladder import ladder_of_image
from iptdata.inspection.page import MAX_BYTES, page
from iptdata.inspection.sheet import contact_sheet, ladder_sheet
from iptdata.inspection.text import summarise_all
from iptdata.recipe import shipped_recipes
from iptdata.shards.find import find_groups

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
PHOTO = ROOT / "iptdata" / "source" / "samples" / "chelsea.jpg"
CHROMIUM = "/usr/bin/chromium"
COLUMNS = 110
STYLE = """
body { background: #16181c; color: #e6e6e6; margin: 16px }
pre { font: 14px/1.14 'DejaVu Sans Mono', monospace; margin: 0 }
"""


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)  # paths are seen in the pictures
        corpus = Path("corpus")
        build("samples", corpus, ["ipt", "rain-heavy"], patches_per_image=64, workers=0)
        groups = find_groups([str(corpus)])
        chosen, _ = choose(groups, count=2)
        save(contact_sheet(chosen), "pairs.jpg")
        save(ladder_sheet(ladder_of_image(PHOTO.read_bytes(), PHOTO.name, shipped_recipes())), "recipes.jpg")
        html = Path(folder) / "page.html"
        of_page, notes = choose(groups, count=40)
        html.write_text(page("corpus", summarise_all(groups), of_page, notes, MAX_BYTES))
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            rain = find_groups([str(corpus / "rain")])
            screen(browser, "terminal.png", lambda out: print_summaries(out, summarise_all(rain)))
            two, _ = choose(rain, count=1, sort="psnr")
            screen(browser, "terminal-show.png", lambda out: print_pairs(out, two, show=True))
            shoot(browser, html, "page-desktop.jpg", (1280, 900), "light", "pairs")
            shoot(browser, html, "page-phone.jpg", (390, 844), "dark", "pairs")
            browser.close()


def screen(browser: Browser, name: str, draw: Callable[[Console], None]) -> None:
    """What a terminal shows, by rich's own rendering."""
    out = Console(
        record=True, file=io.StringIO(), width=COLUMNS, force_terminal=True, color_system="truecolor", highlight=False
    )
    draw(out)
    tab = browser.new_page(viewport={"width": 980, "height": 200})
    tab.set_content(f"<style>{STYLE}</style><pre>{out.export_html(code_format='{code}', inline_styles=True)}</pre>")
    tab.screenshot(path=PICTURES / name, full_page=True)
    tab.close()


def shoot(browser: Browser, html: Path, name: str, size: tuple[int, int], scheme: str, place: str) -> None:
    """What a browser shows of a page."""
    dark = "dark" if scheme == "dark" else "light"
    tab = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=dark)
    tab.goto(html.as_uri())
    tab.select_option("select[name=recipe]", "rain/train")
    tab.evaluate(f"document.getElementById({place!r}).scrollIntoView()")
    save(Image.open(io.BytesIO(tab.screenshot())).convert("RGB"), name)
    tab.close()


def save(picture: Image.Image, name: str) -> None:
    picture.save(PICTURES / name, quality=88)


if __name__ == "__main__":
    main()
