"""The format matches docs/shard-format.md, in new shards and in those of earlier versions."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iptdata.shards import layout
from iptdata.shards.keys import image_key, pair_keys, plain_label
from iptdata.shards.layout import Layout
from tests.conftest import build
from tests.shards import format_reader

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("recipe", ["noise30", "rain", "sr2"])
def test_reader_written_from_the_specification(recipe: str) -> None:
    path = GOLDEN / f"{recipe}.tar"
    pairs = format_reader.read(path)
    side = 16 if recipe == "sr2" else 8
    assert pairs.clean.shape == (4, side, side, 3)
    assert pairs.corrupted.shape == (4, 8, 8, 3)
    with tarfile.open(path) as tar:
        for index, record in enumerate(pairs.records):
            for suffix, array in (("clean", pairs.clean), ("corrupted", pairs.corrupted)):
                member = tar.extractfile(f"{record['key']}.{suffix}.npy")
                assert member is not None
                assert np.array_equal(np.load(io.BytesIO(member.read())), array[index])
            assert record["recipe"] == recipe
            assert record["schema"] == 1


@pytest.mark.parametrize("recipe", ["noise30", "rain", "sr2"])
def test_golden_shards_are_reproduced(recipe: str, tmp_path: Path) -> None:
    """Byte for byte: a difference is a change of the format or of a degradation, and needs a new version of it."""
    sized = tmp_path / f"{recipe}.yaml"
    folder = Path(__file__).parents[2] / "recipes"
    sized.write_text((folder / f"{recipe}.yaml").read_text() + "patch_size: 8\n")
    build("samples", tmp_path / "corpus", [str(sized)], limit=2, patches_per_image=2)
    made = tmp_path / "corpus" / recipe / "train" / f"{recipe}-train-000000.tar"
    assert made.read_bytes() == (GOLDEN / f"{recipe}.tar").read_bytes()


@given(
    clean=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    corrupted=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    pairs=st.integers(0, 4),
    blocks=st.integers(1, 3),
)
def test_any_layout_is_a_tar(clean: tuple[int, int], corrupted: tuple[int, int], pairs: int, blocks: int) -> None:
    shapes = Layout(clean=(*clean, 3), corrupted=(*corrupted, 3), json_size=512 * blocks)
    buffer = shapes.blank(pairs)
    generator = np.random.default_rng(0)
    shapes.clean_view(buffer)[...] = generator.integers(0, 256, (pairs, *shapes.clean))
    shapes.corrupted_view(buffer)[...] = generator.integers(0, 256, (pairs, *shapes.corrupted))
    keys = ["k" * (layout.MAX_KEY_BYTES - 3) + f"{i:03d}" for i in range(pairs)]
    if pairs:
        shapes.write_names(buffer, keys)
        shapes.write_json(buffer, [b"{}"] * pairs)
    data = buffer.tobytes() + shapes.trailer(pairs)
    assert len(data) == shapes.shard_bytes(pairs)
    assert len(data) % 10_240 == 0
    with tarfile.open(fileobj=io.BytesIO(data), errorlevel=2) as tar:
        members = tar.getmembers()
        assert [m.name for m in members] == [f"{key}.{end}" for key in keys for end in ("clean.npy", "corrupted.npy", "json")]
        for index in range(pairs):
            content = tar.extractfile(members[3 * index])
            assert content is not None
            assert np.array_equal(np.load(io.BytesIO(content.read())), shapes.clean_view(buffer)[index])


NAMES = ["a.b.c.jpg", "../../etc/passwd.jpg", "with space.jpg", "снег.jpg", "x" * 300 + ".jpg", ".jpg"]
NAMES += ['q"uote\\.png', "a\nb.jpg", "-.jpg"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("label", ["n01440764", "", "ярлык", "a/b", "l" * 200])
def test_keys_are_plain_unique_and_short(name: str, label: str) -> None:
    keys = pair_keys(f"{label}/{name}", [0, 7, 12345])
    for key in keys:
        assert key.isascii()
        assert key.replace("_", "").replace("-", "").isalnum()
        assert len(key) <= layout.MAX_KEY_BYTES
    assert len(set(keys)) == 3


def test_similar_names_have_different_keys() -> None:
    sources = [f"l/{name}" for name in ("a b.jpg", "a_b.jpg", "a.b.jpg", "a_b.png", "a_b.jpg@x", "x" * 300, "x" * 301)]
    assert len({image_key(source) for source in sources}) == len(sources)


@given(st.text(max_size=80))
def test_label_in_json_is_short_and_needs_no_escapes(label: str) -> None:
    plain = plain_label(label)
    assert len(plain.encode()) <= 32
    assert not any(character in '"\\' or ord(character) < 32 for character in plain)
