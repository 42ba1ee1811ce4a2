"""`iptdata.Corpus`, for notebooks and scripts."""

from pathlib import Path

import numpy as np
import pytest

import iptdata
from iptdata.errors import InspectError, ShardError
from iptdata.shards.find import find_shards
from tests.tars import sample, write_tar


def test_read_access(looked_at: Path) -> None:
    corpus = iptdata.Corpus(looked_at)
    assert len(corpus) == 320
    table = corpus.manifest()
    assert len(table) == 320
    assert table.column_names[:3] == ["recipe", "split", "key"]
    assert set(table["recipe"].to_pylist()) == {"drawn", "noise50", "rain", "sr2"}
    rain = [row for row in table.to_pylist() if row["recipe"] == "rain"]
    own = [row for shard in find_shards(str(looked_at / "rain")) for row in shard.rows().to_pylist()]
    assert [row["params"]["angle"] for row in rain] == [row["params"]["angle"] for row in own]
    pairs = corpus.pairs(where="params.sigma > 49", n=3, sort="sigma")
    assert [pair.task for pair in pairs] == ["drawn"] * 3 + ["noise50"] * 3
    key = pairs[0].key
    assert np.array_equal(corpus["drawn", key].corrupted, pairs[0].corrupted)
    assert np.array_equal(iptdata.Corpus(looked_at / "drawn")[key].corrupted, pairs[0].corrupted)
    with pytest.raises(KeyError, match=f"found {key} in drawn, noise50, rain, sr2; pass one of them: corpus\\['drawn', "):
        corpus[key]
    with pytest.raises(KeyError, match="found no pair with key 'none'"):
        corpus["none"]
    with pytest.raises(InspectError, match=r"where: invalid condition"):
        corpus.pairs(where="nothing = 1")
    assert (
        repr(corpus).splitlines()[1].startswith("drawn/train: 80 pairs, 48x48 clean and 48x48 corrupted; 3 classes; 3 shards, ")
    )


def test_in_a_notebook(looked_at: Path) -> None:
    html = iptdata.Corpus(looked_at / "rain")._repr_html_()
    assert html.count("data:image/png;base64,") == 8
    assert "light rain, as in Rain100L" in html
    assert "<script" not in html
    assert "<rect" in html


def test_tars_not_written_by_iptdata(tmp_path: Path) -> None:
    write_tar(tmp_path / "mine-0.tar", [sample(number) for number in range(3)])
    corpus = iptdata.Corpus(tmp_path)
    assert len(corpus) == 0
    assert [pair.key for pair in corpus.pairs()] == ["0000", "0001", "0002"]
    assert corpus["0001"].clean[0, 0, 0] == 1
    assert corpus.manifest().num_rows == 0
    assert "3 samples" in corpus._repr_html_()


def test_as_a_collection(looked_at: Path) -> None:
    corpus = iptdata.Corpus(looked_at / "rain", looked_at / "drawn")
    pairs = list(corpus)
    assert len(pairs) == len(corpus) == 160
    assert all(pair.key in corpus for pair in pairs[:3])
    assert "none" not in corpus
    assert 0 not in corpus
    with pytest.raises(KeyError, match="found 0, expected the key of a pair, or a recipe and a key; recipes are drawn, rain"):
        corpus[0]  # pyright: ignore[reportArgumentType]
    with pytest.raises(KeyError, match="recipes are drawn, rain"):
        corpus["sr2", pairs[0].key]
    with pytest.raises(InspectError, match="n: found 0, expected 1 or more"):
        corpus.pairs(n=0)


def test_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ShardError, match="does not exist"):
        iptdata.Corpus(tmp_path / "none")
    with pytest.raises(InspectError, match="paths: found no path"):
        iptdata.Corpus()
    with pytest.raises(AttributeError, match="no attribute 'Corpse'"):
        iptdata.Corpse  # noqa: B018
