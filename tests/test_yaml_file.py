"""YAML files: whatever a file contains, one line that names it, and the line in it."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iptdata.errors import IptDataError, RecipeError
from iptdata.recipe import load, shipped
from iptdata.studies import load_study, shipped_studies
from iptdata.training.config import config_text, read_config, read_settings, resolve
from iptdata.yaml_file import read_mapping, read_value


def read(text: str) -> Any:
    return read_value(text, RecipeError)


LAUGHS = "a: &a [1,2,3,4,5,6,7,8,9]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + earlier] * 9)}]\n" for earlier, name in zip("abcdefgh", "bcdefghi", strict=True)
)
REFUSED = {
    "a huge integer": ("a: " + "9" * 5000, "line 1, column 4: found a number of 5,000 characters, expected at most 100"),
    "a huge float": ("a: 1." + "9" * 5000, "found a number of 5,002 characters"),
    "a number in base 60": ("a: 1" + ":1" * 5000, "found a number of 10,001 characters"),
    "an integer of letters": ("a: !!int abc", "line 1, column 4: found 'abc', expected int"),
    "an empty integer": ("a: !!int ''", "found '', expected int"),
    "a float of letters": ("a: !!float abc", "found 'abc', expected float"),
    "a bool of letters": ("a: !!bool maybe", "found 'maybe', expected bool"),
    "a null of a list": ("a: !!null [1]", "expected a scalar node, but found sequence"),
    "binary": ("a: !!binary aGk=", "the tag 'tag:yaml.org,2002:binary', which is not supported"),
    "a date by its tag": ("a: !!timestamp 2020-01-01", "the tag 'tag:yaml.org,2002:timestamp'"),
    "a set": ("a: !!set {x}", "the tag 'tag:yaml.org,2002:set'"),
    "an ordered map": ("a: !!omap [x: 1]", "the tag 'tag:yaml.org,2002:omap'"),
    "a Python object": ("a: !!python/object/apply:os.system [ls]", "the tag 'tag:yaml.org,2002"),
    "an unknown tag": ("a: !x 1", "the tag '!x'"),
    "deep lists": ("a: " + "[" * 900 + "]" * 900, "line 1, column 53: found more than 50 values within each other"),
    "deep mappings": ("{a: " * 900 + "}" * 900, "more than 50 values within each other"),
    "deep blocks": ("- " * 400_000, "more than 50 values within each other"),
    "only brackets": ("[" * 900_000, "more than 50 values within each other"),
    "a list within itself": ("a: &a [*a]", "line 1, column 8: found *a within itself"),
    "a mapping within itself": ("a: 1\nb: &b {c: [*b]}", "line 2, column 12: found *b within itself"),
    "a mapping merged into itself": ("a: &a {<<: *a}", "found *a within itself"),
    "a billion laughs": (LAUGHS, "found more than 20,000 values"),
    "merged laughs": ("x: &a {k: 1}\ny: {<<: [" + ",".join(["*a"] * 30_000) + "]}", "found more than 20,000 values"),
    "many values": ("a: [" + "1," * 100_000 + "]", "found more than 20,000 values"),
    "a key twice": ("a: 1\nb: 2\na: 3", "line 3, column 1: found the key 'a' again, first in line 1"),
    "a key twice within": ("x:\n  - {a: 1, 'a': 2}", "line 2, column 12: found the key 'a' again, first in line 2"),
    "a merge twice": ("a: &a {x: 1}\nb: {<<: *a, <<: *a}", "found the key '<<' again"),
    "a list as a key": ("? [a]\n: 1", "found a list or mapping as a key, expected text"),
    "a number as a key": ("1: a", "line 1, column 1: found the key '1', expected text; write it in quotes"),
    "Norway as a key": ("no: a", "found the key 'no', expected text; write it in quotes"),
    "null as a key": ("null: a", "found the key 'null', expected text"),
    "a merge of text": ("a: {<<: text}", "expected a mapping or list of mappings for merging"),
    "two documents": ("a: 1\n---\nb: 2", "not YAML in line 2, column 1: found a second document"),
    "an unknown alias": ("a: *b", "undefined alias"),
    "a tab": ("a:\n\tb: 1", "not YAML in line 2, column 1: found character '\\t'"),
    "a NUL": ("a: 1\nb: \0", "not YAML in line 2: found the character"),
    "a long key": ("a" * 2000 + ": 1", "mapping values are not allowed here"),
    "a character that does not exist": ('a: "\\U00110000"', "not YAML in line 1: chr() arg"),
    "a character far outside": ('a: "\\UFFFFFFFF"', "not YAML in line 1: Python int too large"),
    "another version": ("%YAML 9.9\n---\na: 1", "incompatible YAML document"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    text, message = REFUSED[name]
    with pytest.raises(RecipeError) as raised:
        read(text)
    assert message in str(raised.value)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 200


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# only a comment", None),
        ("a: 2020-99-99", {"a": "2020-99-99"}),
        ("a: 2020-01-01 10:00:00", {"a": "2020-01-01 10:00:00"}),
        ("a: &x {k: [1, 2.5, null, true]}\nb: *x", {"a": {"k": [1, 2.5, None, True]}, "b": {"k": [1, 2.5, None, True]}}),
        ("a: &x {k: 1, l: 2}\nb: {<<: *x, l: 3}", {"a": {"k": 1, "l": 2}, "b": {"k": 1, "l": 3}}),
        ("'no': 1\n'1': 2", {"no": 1, "1": 2}),
        ("=: 3", {"=": 3}),
        ("\ufeffa: 1", {"a": 1}),
    ],
)
def test_read(text: str, value: object) -> None:
    assert read(text) == value


def test_one_megabyte_is_read_in_seconds(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: |\n" + " x\n" * 330_000)
    assert len(read_mapping(tmp_path / "a.yaml", "keys", RecipeError)["a"]) == 660_000
    (tmp_path / "a.yaml").write_text("#" * 1_000_001)
    with pytest.raises(RecipeError, match="found 1,000,001 bytes, expected at most 1,000,000"):
        read_mapping(tmp_path / "a.yaml", "keys", RecipeError)


def test_encodings(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes("a: größer".encode("utf-8-sig"))
    assert read_mapping(path, "keys", RecipeError) == {"a": "größer"}
    for data, message in (
        ("a: 1".encode("utf-16"), r"not UTF-8 in line 1\. Save it as UTF-8"),
        ("a: 1\nb: größer".encode("latin-1"), "not UTF-8 in line 2"),
        ("a: 1".encode("utf-16-le"), "not YAML in line 1: found the character"),
    ):
        path.write_bytes(data)
        with pytest.raises(RecipeError, match=message):
            read_mapping(path, "keys", RecipeError)


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "folder.yaml").mkdir()
    (tmp_path / "link.yaml").symlink_to("/dev/zero")
    for name, message in (
        ("pipe.yaml", "not a regular file"),
        ("folder.yaml", "is a folder"),
        ("link.yaml", "not a regular file"),
        ("none.yaml", "No such file"),
        ("a\0.yaml", "not a path"),
    ):
        with pytest.raises(RecipeError, match=f"cannot be read: {message}"):
            load(str(tmp_path / name))


@pytest.mark.parametrize("setting", [f"lr={text}" for text, _ in REFUSED.values()] + ["x" * 100_000, "x.y=3", "lr.\x1b=1"])
def test_settings_are_read_by_the_same_reader(setting: str) -> None:
    with pytest.raises(IptDataError) as raised:
        resolve(read_settings([setting]))
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 700


SPLICES = (
    *("&a", "*a", "<<: *a", "!!int", "!!binary", "no", "~", ".nan", "-.inf", "1e999", "9" * 400, "-0.0", "[]", "{}", "[[", "}"),
    *(
        "\t",
        "\0",
        "\ud800",
        '"\\ud800"',
        '"\\x1b[2J"',
        "---\n",
        "? ",
        "- ",
        ": ",
        "|\n",
        "2020-99-99",
        "../..",
        "x" * 5000,
        "0x",
        "1:2",
    ),
)


def mutated(text: str, bits: random.Random) -> str:
    """A text with one to four cuts, repeats and splices."""
    for _ in range(bits.randint(1, 4)):
        start = bits.randrange(len(text) + 1)
        end = start + bits.choice((0, 1, 3, 10, 50))
        text = text[:start] + bits.choice((*SPLICES, text[end : end + 40], "")) + text[bits.choice((start, end)) :]
    return text


RUN = config_text(resolve({"shards": ["a", "b=c"], "model": "ipt-tiny", "network": {"n_feats": 8}, "tasks": "sr2,rain"}))
READERS: dict[str, tuple[list[str], Callable[[str], object]]] = {
    "recipes": ([path.read_text() for path in shipped().values()], load),
    "studies": ([path.read_text() for path in shipped_studies().values()], load_study),
    "configs": ([RUN], lambda path: resolve(read_config(path))),
}


@pytest.mark.parametrize("kind", READERS)
def test_mutated_files(kind: str, tmp_path: Path) -> None:
    texts, read_file = READERS[kind]
    bits = random.Random(1)
    path = tmp_path / "a.yaml"
    refused = 0
    for _ in range(300):
        path.write_bytes(mutated(bits.choice(texts), bits).encode(errors="surrogatepass"))
        try:
            read_file(str(path))
        except IptDataError as error:
            refused += 1
            message = str(error).replace(str(tmp_path), "")
            assert message.isprintable()
            assert len(message) < 800
    assert refused > 60
