"""Texts of errors: one line, whatever a file contains."""

from typing import Any

import numpy as np
import pytest

from iptdata.errors import IptDataError, shown


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("rain", "'rain'"),
        (3, "3"),
        (-2.5, "-2.5"),
        (None, "None"),
        (b"ab\0", "b'ab\\x00'"),
        ([1, "a"], "[1, 'a']"),
        ({"b": 1}, "{'b': 1}"),
        ("two\nlines", "'two\\nlines'"),
        ("\x1b[2J", "'\\x1b[2J'"),
        ("a\u202eb", "'a\\u202eb'"),
        ("a\u2028b\x85", "'a\\u2028b\\x85'"),
        ("\udcff", "'\\udcff'"),
        ("Grüße", "'Grüße'"),
        pytest.param(1 << 100_000, "an integer of 100,001 bits", id="huge integer"),
    ],
)
def test_a_value_is_shown_on_one_line(value: object, text: str) -> None:
    assert shown(value) == text


@pytest.mark.parametrize(
    "value",
    ["x" * 10**7, b"\0" * 10**7, list(range(10**6)), {"x" * 10**6: nested(20_000)}, nested(20_000), np.zeros((50, 50)), object],
)
def test_a_value_of_any_size_and_depth_is_cut(value: object) -> None:
    text = shown(value)
    assert len(text) <= 80
    assert text.isprintable()
    assert len(shown(value, 20)) <= 20


def test_a_cut_is_marked() -> None:
    assert shown("x" * 100, 10) == "'xx...xx'"


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ("s3://KEY:hush@bucket/a does not exist", "s3://***@bucket/a does not exist"),
        ("s3://KEY:hu/hush@bucket/a does not exist", "s3://***@bucket/a does not exist"),
        ("s3:/KEY:hush@bucket/a", "s3:/***@bucket/a"),
        ("s3://b/a?region=x&secret_key=hush does not exist", "s3://b/a?region=x&secret_key=*** does not exist"),
        ("s3://b/a?Access_Key=hush&x=1", "s3://b/a?Access_Key=***&x=1"),
        ("x://b/a?X-Amz-Signature=hush", "x://b/a?X-Amz-Signature=***"),
        ("s3://b/a%3Fsecret_key%3Dhush", "s3://b/a%3Fsecret_key%3D***"),
        ("s3://b/key=1/a?region=x", "s3://b/key=1/a?region=x"),
    ],
)
def test_secrets_of_urls_are_masked(found: str, expected: str) -> None:
    """In every message, also where a URL is taken for a local path."""
    assert str(IptDataError(found)) == expected
