"""The page in a browser: it loads nothing, the wipe, filters and keys work, names from files stay text."""

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from iptdata.inspection.choose import choose
from iptdata.inspection.page import page
from iptdata.inspection.text import summarise_all
from iptdata.shards.find import find_groups
from tests.conftest import build, natural_image, save
from tests.tars import sample, write_tar

HOSTILE = "<img src=x onerror=alert(1)>.jpg"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Noise and rain of a class and a file with hostile names, 8 pairs each."""
    root = tmp_path_factory.mktemp("page")
    save(root / "photos" / '"><script>alert(2)</script>' / HOSTILE, natural_image(120, 120))
    save(root / "photos" / "n01" / "plain.png", natural_image(120, 120, 1))
    for text in ("noise30", "rain"):
        build(root / "photos", root / "corpus", (text,), patches_per_image=4)
    groups = find_groups([str(root / "corpus")])
    chosen, notes = choose(groups, count=100)
    name = "</title><script>alert(3)</script>"
    text = page(name, summarise_all(groups), chosen, [*notes, "<b>a note</b>"], max_bytes=None)
    (root / "page.html").write_text(text)
    return root / "page.html"


@pytest.fixture
def tab(browser: Browser, html: Path) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    tab = context.new_page()
    requests, messages = [], []
    tab.on("request", lambda request: requests.append(request.url))
    tab.on("console", lambda message: messages.append(message.text))
    tab.on("pageerror", lambda error: messages.append(str(error)))
    tab.on("dialog", lambda dialog: messages.append(dialog.message))
    tab.goto(html.as_uri())
    yield tab
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} == {html.as_uri()}
    context.close()


def shown(tab: Page) -> list[str]:
    """Recipes of the visible pairs, in order."""
    return tab.eval_on_selector_all(".pair:not([hidden])", "cards => cards.map(card => card.dataset.recipe)")


def share(tab: Page, index: int) -> str:
    """Position of the wipe of a pair."""
    return tab.locator(".stage").nth(index).evaluate("stage => stage.style.getPropertyValue('--cut')")


def test_names_from_files_stay_text(tab: Page) -> None:
    expect(tab.locator(".pair")).to_have_count(16)
    expect(tab.locator("img[src='x']")).to_have_count(0)
    expect(tab.locator("b, main script")).to_have_count(0)
    expect(tab).to_have_title("iptdata: </title><script>alert(3)</script>")
    for details in tab.locator("details").all():
        details.evaluate("details => details.open = true")
    expect(tab.get_by_text(HOSTILE, exact=False).first).to_be_visible()


def test_nothing_from_outside_is_allowed(tab: Page, html: Path) -> None:
    policy = tab.locator("meta[http-equiv='Content-Security-Policy']").get_attribute("content")
    assert policy is not None
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "unsafe" not in policy
    assert set(re.findall(r'(?:src|href)="([^#"][^",]*)', html.read_text())) == {"data:", "data:image/png;base64"}


def test_pictures_are_visible(tab: Page) -> None:
    tab.locator(".pair").last.scroll_into_view_if_needed()
    sizes = tab.eval_on_selector_all("img", "images => images.map(image => image.naturalWidth)")
    assert set(sizes) == {48}
    rendering = tab.locator("img").first.evaluate("image => getComputedStyle(image).imageRendering")
    assert rendering == "pixelated"
    expect(tab.locator("svg[role=img] rect").first).to_be_visible()


def test_the_wipe_moves(tab: Page) -> None:
    slider = tab.locator(".wipe").first
    assert share(tab, 0) == "50%"
    slider.fill("20")
    assert share(tab, 0) == "20%"
    assert slider.get_attribute("aria-valuetext") == "20% clean"
    box = tab.locator(".stage").first.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 20)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 20)
    tab.mouse.up()
    assert share(tab, 0) == "75%"
    clip = tab.locator(".corrupted").first.evaluate("image => getComputedStyle(image).clipPath")
    assert clip == "inset(0px 0px 0px 75%)"
    assert share(tab, 1) == "50%"


def test_filter_and_sort(tab: Page) -> None:
    assert shown(tab) == ["noise30/train"] * 8 + ["rain/train"] * 8
    tab.select_option("select[name=recipe]", "rain/train")
    assert shown(tab) == ["rain/train"] * 8
    expect(tab.locator("#count")).to_have_text("8 of 16 pairs")
    tab.select_option("select[name=label]", "n01")
    assert len(shown(tab)) == 4
    tab.get_by_role("button", name="Reset").click()
    expect(tab.locator("#count")).to_have_text("16 pairs")
    tab.fill("input[name=text]", "PLAIN")
    assert len(shown(tab)) == 8
    tab.fill("input[name=text]", "")
    tab.select_option("select[name=column]", "sigma")
    tab.fill("input[name=low]", "29")
    assert shown(tab) == ["noise30/train"] * 8
    tab.fill("input[name=high]", "29.5")
    expect(tab.locator("#count")).to_have_text("0 of 16 pairs")
    tab.get_by_role("button", name="Reset").click()
    for descending in (False, True):
        tab.select_option("select[name=sort]", "psnr")
        tab.set_checked("input[name=descending]", descending)
        psnr = tab.eval_on_selector_all(".pair", "cards => cards.map(card => JSON.parse(card.dataset.values).psnr)")
        assert psnr == sorted(psnr, reverse=descending)
        assert len(set(psnr)) > 8
    tab.select_option("select[name=sort]", "sigma")
    assert shown(tab)[8:] == ["rain/train"] * 8


def test_keys(tab: Page) -> None:
    first = tab.locator(".pair").first
    first.focus()
    focused = (
        "document.activeElement.closest('.pair') && [...document.querySelectorAll('.pair')].indexOf(document.activeElement)"
    )
    across = tab.evaluate("getComputedStyle(document.getElementById('gallery')).gridTemplateColumns.split(' ').length")
    assert across > 1
    for key, place in (
        ("ArrowRight", 1),
        ("ArrowDown", 1 + across),
        ("ArrowLeft", across),
        ("ArrowUp", 0),
        ("ArrowLeft", 0),
        ("End", 15),
        ("Home", 0),
    ):
        tab.keyboard.press(key)
        assert tab.evaluate(focused) == place, key
    tab.keyboard.press(" ")
    assert share(tab, 0) == "100%"
    tab.keyboard.press(" ")
    assert share(tab, 0) == "0%"
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "wipe"
    tab.keyboard.press("ArrowRight")
    assert share(tab, 0) == "1%"
    tab.keyboard.press("Tab")
    tab.keyboard.press(" ")
    expect(tab.locator("details").first).to_have_attribute("open", "")
    assert share(tab, 0) == "1%"


def test_labels_of_the_filters(tab: Page) -> None:
    labels = tab.eval_on_selector_all(
        "#filter label", "all => all.map(one => one.firstChild.textContent.trim() || one.textContent.trim())"
    )
    assert labels == ["Recipe", "Class", "Name contains", "Filter by", "from", "to", "Sort by", "descending"]
    assert tab.locator("select[name=sort] option").first.text_content() == "random"
    heads = tab.locator("thead").first.locator("th").all_text_contents()
    assert heads == ["column", "histogram", "mean", "min", "5%", "median", "95%", "max"]


def test_dark_and_light(tab: Page) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    light = tab.evaluate(paper)
    tab.get_by_role("button", name="Dark").click()
    dark = tab.evaluate(paper)
    assert dark != light
    tab.get_by_role("button", name="Dark").click()
    assert tab.evaluate(paper) == light
    tab.emulate_media(color_scheme="dark")
    tab.reload()
    assert tab.evaluate(paper) == dark


def test_a_phone(tab: Page) -> None:
    tab.set_viewport_size({"width": 360, "height": 700})
    assert tab.evaluate("document.documentElement.scrollWidth") <= 360
    widths = tab.eval_on_selector_all(".stage", "stages => stages.map(stage => stage.getBoundingClientRect().width)")
    assert min(widths) > 280


def test_screen_reader_labels(tab: Page) -> None:
    expect(tab.get_by_role("group")).to_have_count(16 * 2)  # each pair, and its details
    assert tab.get_by_role("img", name=re.compile("Histogram of PSNR .* from .* to")).count() == 2
    unnamed = tab.eval_on_selector_all(
        "input, select, button, img, svg",
        "all => all.filter(one => !(one.alt || one.ariaLabel || one.labels?.length || one.textContent.trim())).length",
    )
    assert unnamed == 0


def test_odd_labels_and_numbers(browser: Browser, tmp_path: Path) -> None:
    """The page works with class 0, blanks around a class, and numbers that JSON does not have."""
    records = [b'{"label": 0, "params": {"x": NaN}}', b'{"label": "  a  b ", "params": {"x": 2}}']
    write_tar(tmp_path / "mine-0.tar", [sample(number) | {"json": record} for number, record in enumerate(records)])
    groups = find_groups([str(tmp_path)])
    chosen, _ = choose(groups, count=9)
    (tmp_path / "page.html").write_text(page("c", summarise_all(groups), chosen, [], max_bytes=None))
    tab = browser.new_page()
    tab.goto((tmp_path / "page.html").as_uri())
    for label in ("0", "  a  b "):
        tab.evaluate("label => { document.querySelector('select[name=label]').value = label }", label)
        tab.locator("select[name=label]").dispatch_event("input")
        assert len(shown(tab)) == 1
    tab.close()


def test_a_page_stays_below_its_size(looked_at: Path) -> None:
    groups = find_groups([str(looked_at)])
    chosen, _ = choose(groups, count=80)
    text = page("corpus", [], chosen, [], max_bytes=600_000)
    assert 450_000 < len(text) < 700_000
    counts = [text.count(f'data-recipe="{title}"') for title in ("drawn/train", "noise50/train", "rain/train", "sr2/train")]
    assert max(counts) - min(counts) <= 1
    left_out = re.search(r"(\d+) selected pairs left out", text)
    assert left_out is not None
    assert int(left_out[1]) == 320 - sum(counts)
