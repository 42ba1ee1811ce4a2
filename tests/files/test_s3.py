"""Files on S3: the same operations as elsewhere, few requests, and objects that appear whole or not at all."""

import errno
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from iptdata.errors import StorageError
from iptdata.files import Storage
from iptdata.files.urls import check_url
from iptdata.shards.locations import absolute_path, find_tars
from tests.s3 import S3Server

LARGE = 12 << 20


@pytest.fixture
def storage(s3: S3Server) -> Storage:
    found = Storage(s3.url(f"{s3.bucket()}/folder"))
    s3.clear()
    return found


def write(storage: Storage, path: str, *parts: bytes) -> None:
    with storage.writing(path) as sink:
        for part in parts:
            sink.write(memoryview(part))


def test_write_list_read_and_remove(storage: Storage) -> None:
    write(storage, "a/b", b"0123", b"456")
    write(storage, "c", b"")
    assert (storage.names(), storage.folders(), storage.sizes("a")) == (["a", "c"], ["a"], {"b": 7})
    assert (storage.read("a/b"), storage.read("a/b", 2, 3), storage.read("c")) == (b"0123456", b"234", b"")
    assert (storage.size("a/b"), storage.size("a"), storage.size("nothing")) == (7, None, None)
    storage.remove("a/b")
    storage.remove("a/b")
    assert not storage.exists("a/b")
    with pytest.raises(StorageError, match="cannot read s3://"):
        storage.read("a/b")


def test_a_small_object_is_one_request(storage: Storage, s3: S3Server) -> None:
    write(storage, "a", b"bytes")
    assert s3.methods == {"PUT": 1}
    s3.clear()
    assert storage.read("a", 1, 2) == b"yt"
    assert s3.methods == {"HEAD": 1, "GET": 1}


@pytest.mark.parametrize("size", [3, LARGE])
def test_a_block_that_fails_leaves_nothing(storage: Storage, s3: S3Server, size: int) -> None:
    write(storage, "x.tar", b"before")

    def fail() -> None:
        with storage.writing("x.tar") as sink:
            sink.write(memoryview(bytes(size)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert storage.names() == ["x.tar"]
    assert storage.read("x.tar") == b"before"


def test_a_large_object_appears_whole(storage: Storage) -> None:
    with storage.writing("x.tar") as sink:
        for number in range(12):
            sink.write(memoryview(bytes([number]) * (1 << 20)))
            assert "x.tar" not in storage.names()
    assert storage.read("x.tar") == b"".join(bytes([number]) * (1 << 20) for number in range(12))
    assert storage.names() == ["x.tar"]


def test_temporary_objects_of_a_killed_process_are_removed(storage: Storage) -> None:
    write(storage, ".0123456789ab.partial", b"x")
    write(storage, "x.tar", b"x")
    storage.remove_partial("")
    assert storage.names() == ["x.tar"]


def test_globs_and_braces(storage: Storage, s3: S3Server) -> None:
    for name in ("x-0.tar", "x-1.tar", "y-0.tar", "x-0.txt"):
        write(storage, name, b"x")
    base, query = storage.root.split("?")
    assert [tar.name for tar in find_tars(f"{base}/x-*.tar?{query}")] == ["x-0.tar", "x-1.tar"]
    assert [tar.name for tar in find_tars(f"{base}/{{x-1,y-0}}.tar?{query}")] == ["x-1.tar", "y-0.tar"]
    assert [tar.name for tar in find_tars(f"{base}/?-0.tar?{query}")] == ["x-0.tar", "y-0.tar"]


def in_child(code: str, *arguments: str, **environment: str) -> str:
    """The output of a program, with these variables of AWS and no others."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    command = [sys.executable, "-c", code, *arguments]
    run = subprocess.run(
        command,
        env=clean | {"AWS_EC2_METADATA_DISABLED": "true"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return run.stdout


READ = """
import sys
from iptdata.errors import StorageError
from iptdata.files import Storage
try:
    print(Storage(sys.argv[1]).names())
except StorageError as error:
    print(error)
"""


def test_the_environment_of_aws(storage: Storage, s3: S3Server, tmp_path: Path) -> None:
    """Endpoint, region, keys and profile; the options of the URL come first."""
    write(storage, "a", b"x")
    plain = storage.root.split("?")[0]
    keys = {"AWS_ACCESS_KEY_ID": "first", "AWS_SECRET_ACCESS_KEY": "x"}
    endpoint = f"http://{s3.endpoint}"
    (tmp_path / "credentials").write_text("[other]\naws_access_key_id=second\naws_secret_access_key=x\n")
    (tmp_path / "config").write_text("[profile other]\nregion=ap-east-1\n")
    profile = {
        "AWS_PROFILE": "other",
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }
    for url, variables, expected in (
        (plain, keys | {"AWS_ENDPOINT_URL": endpoint}, "first/us-east-1"),
        (plain, keys | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ENDPOINT_URL_S3": endpoint}, "first/us-east-1"),
        (storage.root, keys | {"AWS_ENDPOINT_URL": "http://127.0.0.1:1"}, "first/us-east-1"),
        (storage.root, keys | {"AWS_REGION": "eu-west-2"}, "first/eu-west-2"),
        (storage.root, keys | {"AWS_DEFAULT_REGION": "eu-west-3", "AWS_REGION": "eu-west-2"}, "first/eu-west-3"),
        (f"{storage.root}&region=eu-north-1", keys | {"AWS_REGION": "eu-west-2"}, "first/eu-north-1"),
        (storage.root, profile, "second/ap-east-1"),
    ):
        s3.clear()
        assert in_child(READ, url, **variables) == "['a']\n", variables
        assert s3.signers == {expected}, variables


def test_a_missing_bucket_is_one_line(s3: S3Server) -> None:
    missing = Storage(s3.url("no-such-bucket/folder"))
    assert not missing.exists()
    for use in (missing.make_folder, lambda: missing.write("a", b"x"), lambda: missing.read("a")):
        with pytest.raises(StorageError, match=r"^cannot \w+ s3://no-such-bucket/folder[^\n]*$"):
            use()
    with pytest.raises(StorageError, match=r"folder/a\S*: the bucket does not exist$"):
        missing.write("a", b"x")


@pytest.mark.long  # Arrow tries for 6 s
def test_a_server_that_is_not_there() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    found = in_child(READ, "s3://bucket/a?endpoint_override=127.0.0.1:1&scheme=http", **keys)
    assert found.startswith("cannot use s3://bucket/a?endpoint_override=127.0.0.1:1&scheme=http: ")
    assert "no connection to the server (curlCode: 7, Could not connect" in found


@pytest.mark.parametrize(
    "url",
    [
        "s3://KEYID:hush@bucket/a",
        "s3://KEYID@bucket/a",
        "s3://KEYID:hu/hush@bucket/a",
        "s3://KEYID%3Ahush%40bucket/a",
        "s3://KEYID%253Ahush%2540bucket/a",
        "s3://bucket/a?access_key=hush",
        "s3://bucket/a?region=x&Secret_Key=hush",
        "s3://bucket/a/*.tar?scheme=http&session_token=hush",
        "s3://bucket/a?X-Amz-Signature=hush",
        "s3://bucket/a%3Fsecret_key%3Dhush",
        "s3://bucket/a?secret%5Fkey=hush",
        "s3://bucket/a?endpoint_override=user:hush@host",
        "s3://{KEYID:hush@bucket}/a-{0..3}.tar",
        "gs://KEYID:hush@bucket/a",
        "gs://bucket/a?access_token=hush",
        "abfs://account:hush@host/container",
        "abfs://container@account.dfs.core.windows.net/a?sig=hush",
        "abfss://container@account.dfs.core.windows.net/a?account_key=hush",
        "hdfs://user:hush@host:8020/a",
        "https://user:hush@host/a?token=hush",
    ],
)
def test_urls_with_credentials_are_refused_without_showing_them(url: str) -> None:
    for use in (check_url, Storage, absolute_path, lambda path: absolute_path(f"blur={path}"), find_tars):
        with pytest.raises(StorageError, match="expected") as found:
            use(url)
        assert "hush" not in f"{found.value!r}{found.value}{found.value.hint}"
        assert "KEYID" not in f"{found.value!r}{found.value}{found.value.hint}"


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/a?region=eu-west-1&scheme=http&endpoint_override=host:9000&allow_bucket_creation=true",
        "s3://bucket/label=cat@home/a:b-{0..3}.tar",
        "s3://bucket/monkey/key=1/token-?.tar",
        "gs://anonymous@bucket/a",
        "abfs://container@account.dfs.core.windows.net/a?credential_kind=default",
        "hdfs://user@host:8020/a?replication=1",
        "file:///a@b:c/d",
    ],
)
def test_other_urls_are_not_refused(url: str) -> None:
    check_url(url)
    assert pickle.loads(pickle.dumps(Storage(url))).root == url


@pytest.mark.parametrize(
    ("code", "status", "expected"),
    [
        ("AccessDenied", "403 Forbidden", "access denied; check"),
        ("InvalidAccessKeyId", "403 Forbidden", "the access key does not exist"),
        ("SignatureDoesNotMatch", "403 Forbidden", "the secret key is wrong"),
        ("ExpiredToken", "400 Bad Request", "the server answered 400: "),
    ],
)
def test_refusals_are_named_and_not_repeated(s3: S3Server, code: str, status: str, expected: str) -> None:
    """They are not those of a file either, which would become a reject of the image."""
    with s3.refusing(code, status), pytest.raises(StorageError, match=rf"^cannot use s3://\S+: {expected}") as found:
        Storage(s3.url("bucket/a")).names()
    assert isinstance(found.value.__cause__, OSError)
    assert found.value.__cause__.errno == errno.EIO
    assert sum(s3.methods.values()) == 1
