"""The PSNR of a corpus is one number, whoever shows it: the build, its files, `inspect`, the page, queries and pairs."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import iptdata
from iptdata.cli import group
from iptdata.degradations.bicubic import imresize
from iptdata.image.psnr import MAX_DB, PSNR_NOTE
from iptdata.inspection.choose import choose
from iptdata.inspection.compare import compare
from iptdata.inspection.page import page
from iptdata.inspection.rows import ManifestTable
from iptdata.inspection.summary import SplitSummary
from iptdata.shards.find import find_groups

RECIPES = ("rain", "sr2", "sr4")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, iptdata.BuildResult]:
    """Rain with unchanged pairs and two recipes of super-resolution, 24 pairs each in two shards."""
    out = tmp_path_factory.mktemp("psnr") / "corpus"
    result = iptdata.build("samples", out, RECIPES, patch_size=8, patches_per_image=4, images_per_shard=3, workers=0)
    return out, result


@pytest.fixture(scope="module")
def wanted(built: tuple[Path, iptdata.BuildResult]) -> dict[str, dict[str, float]]:
    """PSNR of each pair by recipe and key, from the formula and the pixels."""
    found: dict[str, dict[str, float]] = {task: {} for task in RECIPES}
    for pair in iptdata.Corpus(built[0]):
        large = imresize(pair.corrupted, len(pair.clean) // len(pair.corrupted))
        squares = (pair.clean.astype(int) - large) ** 2
        db = 10 * math.log10(65025 * squares.size / squares.sum()) if squares.any() else MAX_DB
        found[pair.task][pair.key] = min(db, MAX_DB)
    assert list(found["rain"].values()).count(100) > 3
    return found


def invoke(*arguments: object) -> str:
    return CliRunner().invoke(group, list(map(str, arguments)), catch_exceptions=False, env={"COLUMNS": "80"}).stdout


def test_every_mean_is_the_mean_over_pairs(
    built: tuple[Path, iptdata.BuildResult], wanted: dict[str, dict[str, float]]
) -> None:
    out, result = built
    entries = {entry["recipe"]: entry for entry in json.loads((out / "corpus.json").read_text())["splits"]}
    card = (out / "README.md").read_text()
    assert f"\n{PSNR_NOTE}.\n" in card
    corpus = iptdata.Corpus(out)
    printed = {found["task"]: found for found in json.loads(invoke("inspect", out, "--json"))}
    for total, summary, shards in zip(result.splits, corpus.summaries, corpus.groups, strict=True):
        values = list(wanted[total.task].values())
        mean = np.mean(values)
        assert isinstance(summary, SplitSummary)
        assert summary.psnr is not None
        query = ManifestTable(shards.shards)._query("SELECT avg(psnr), count(psnr) FROM pairs")[0]
        pairs = [pair.psnr or 0.0 for pair in corpus if pair.task == total.task]
        sums = [shard.info.psnr_sum or 0.0 for shard in shards.shards]
        means = [
            *(total.psnr, entries[total.task]["mean_psnr"], summary.psnr.mean, printed[total.task]["psnr"]["mean"]),
            *(query[0], np.mean(pairs), math.fsum(sums) / len(values)),
        ]
        assert means == pytest.approx([mean] * len(means), abs=1e-6)
        counts = [total.measured, entries[total.task]["pairs_with_psnr"], summary.psnr.count, query[1], summary.pairs]
        assert counts == [24] * 5
        unchanged = values.count(MAX_DB)
        assert total.identical == summary.identical == entries[total.task]["pairs_without_difference"] == unchanged
        text = f"{mean:.2f}" + (f", {unchanged} unchanged" if unchanged else "")
        assert total.psnr_text == text
        assert f"| {text} |" in card
        (compared,) = compare([shards], [shards]).both
        assert compared.spreads[0][1] == summary.psnr


def test_queries_and_orders_use_it(built: tuple[Path, iptdata.BuildResult], wanted: dict[str, dict[str, float]]) -> None:
    corpus = iptdata.Corpus(built[0])
    for task, values in wanted.items():
        middle = float(np.median(list(values.values())))
        below = {key for key, value in values.items() if value < middle - 1e-6}
        assert below
        found = [pair for pair in corpus.pairs(where=f"psnr < {middle - 1e-6}", n=100, sort="-psnr") if pair.task == task]
        assert {pair.key for pair in found} == below
        shown = [pair.psnr or 0.0 for pair in found]
        assert shown == sorted(shown, reverse=True)
        assert shown == pytest.approx([values[pair.key] for pair in found], abs=1e-9)
    rain = [pair for pair in corpus.pairs(where="psnr = 100", n=100) if pair.task == "rain"]
    assert {pair.captions[0] for pair in rain} == {"unchanged, PSNR 100 dB"}


def test_what_is_printed(built: tuple[Path, iptdata.BuildResult], wanted: dict[str, dict[str, float]]) -> None:
    out, _ = built
    again = ("build", "--recipe", "rain,sr2,sr4", "--patch-size", 8, "--patches-per-image", 4, "--images-per-shard", 3)
    table = invoke(*again, "--workers", 0, "--out", out)
    text = invoke("inspect", out)
    compared = invoke("inspect", out, "--compare", out)
    for shown in (table, text, compared):
        assert PSNR_NOTE in shown
        assert max(map(len, shown.splitlines()[:12])) <= 80 or shown is not table
    means = re.findall(r"^ PSNR \(dB\) +([\d.]+)", text, re.MULTILINE)
    sides = re.findall(r"^ PSNR \(dB\) +A +([\d.]+)", compared, re.MULTILINE)
    for task, mean, side in zip(RECIPES, means, sides, strict=True):
        value = np.mean(list(wanted[task].values()))
        assert float(mean) == float(side) == pytest.approx(value, abs=0.051)
        assert re.search(rf"^  {task} .* {value:.2f}\b", table, re.MULTILINE)


def test_page(built: tuple[Path, iptdata.BuildResult], wanted: dict[str, dict[str, float]]) -> None:
    groups = find_groups([str(built[0])])
    corpus = iptdata.Corpus(built[0])
    html = page("corpus", corpus.summaries, choose(groups, count=100)[0], [], None)
    assert html.count(PSNR_NOTE) == 3
    cards = re.findall(r'data-recipe="(\w+)/train".*?data-key="([\w-]+)".*?data-values=\'(.*?)\'', html)
    assert len(cards) == 72
    for task, key, values in cards:
        assert json.loads(values)["psnr"] == pytest.approx(wanted[task][key], abs=1e-4)
