"""The parts of a URL, which URLs are opened at all, and the text of a path."""

import os
import re
from urllib.parse import unquote

from iptdata.errors import StorageError, printable

SCHEMES = ("s3", "gs", "gcs", "abfs", "abfss", "hdfs", "viewfs", "file")
_BUCKETS = ("s3", "gs", "gcs")
_AZURE = ("abfs", "abfss")
_NOT_SECRET = ("credential_kind", "tls_verify_certificates")
_SECRET = re.compile(r"key|secret|token|signature|passw|pwd|credential|authorization|(?<![a-z])(?:sig|sas)(?![a-z])", re.I)
_ENCODED = 3  # times that a character may be percent-encoded, each `%` being encoded again


def check_url(path: str) -> None:
    """Refuse whatever is neither a local path nor a URL of a file system, such as `https://...` and `pipe:COMMAND`.

    `pyarrow.fs` would pass other schemes to whichever library is installed. URLs with credentials are refused too, since paths
    are recorded in runs and appear in messages.

    Raises:
        StorageError: When the path has another scheme, or credentials.
    """
    scheme, separator, rest = path.partition("://")
    command = path.startswith("pipe:") and not os.path.exists(path)
    if not command and (not separator or scheme in SCHEMES):
        if separator:
            _refuse_credentials(scheme, rest)
        return
    expected = ", ".join(f"{scheme}://" for scheme in SCHEMES)
    name = printable(path) if command else f"{printable(scheme)}://..."
    raise StorageError(f"cannot open {name}: expected a local path or a URL of {expected}")


def _refuse_credentials(scheme: str, rest: str) -> None:
    """Refuse a URL with a user, a password or a secret option, in a message without any of its text but the option's name."""
    for _ in range(_ENCODED):
        rest = unquote(rest)
    path, _, query = rest.partition("?")
    if _names_user(scheme, path):
        found = "a user or a password before its host"
    else:
        options = (option.partition("=") for option in re.split(r"[?&;#/]", query))
        secret = [name for name, equals, value in options if equals and (_is_secret(name) or "@" in value)]
        if not secret:
            return
        found = f"the option {printable(secret[0], 60)}"
    raise StorageError(
        f"cannot open a URL of {scheme}:// with {found}: expected one without credentials",
        hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for other schemes what their libraries read",
    )


def _names_user(scheme: str, path: str) -> bool:
    """Whether a URL without its scheme and options has credentials; `gs://anonymous@bucket` has none.

    A secret key may contain a slash, so what is before an `@` can reach beyond the first one.
    """
    host = path.split("/", 1)[0]
    user, at, _ = path.rpartition("@")
    if scheme in _BUCKETS and not host.startswith("arn:"):
        return ":" in host or ("@" in host and host.partition("@")[0] != "anonymous")
    before_host = user.split("/", 1)[0] if "@" not in host else host.rpartition("@")[0]
    return bool(at) and (":" in before_host or (scheme in _AZURE and host.count("@") > 1))


def _is_secret(name: str) -> bool:
    return name.lower() not in _NOT_SECRET and _SECRET.search(name) is not None


def split_query(path: str) -> tuple[str, str]:
    """Split the options of a URL, `?endpoint_override=...`, from the rest.

    Returns:
        The path and the options with their `?`. The options are empty for a local path, and for a URL where the `?` does not
        start `?name=`, as in a glob.
    """
    found = re.fullmatch(r"(\w+://.*?)(\?\w+=.*)?", path)
    return (found[1], found[2] or "") if found else (path, "")


def is_utf8(path: str) -> bool:
    """Whether a path is valid UTF-8; Python represents other bytes by surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
