"""The lines of a list of image files: `path`, `path,label`, `path 123`, a header, or a comment. Paths are data."""

import csv
from typing import NamedTuple

from iptdata.files.walk import is_image_name
from iptdata.nfc import nfc

MAX_LINE_BYTES = 64 << 10
_MAX_LABEL_BYTES = 255
_SHOWN_BYTES = 100
_PATH, _LABEL = "path", "label"


class BadLine(Exception):
    """A line that names no file that can be used.

    Args:
        reason: Reason in a few words, the same for all lines with this problem.
        detail: What was found.
        path: The path on the line, "" if it has none.
    """

    def __init__(self, reason: str, detail: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.detail: str = detail
        self.path: str = path


class _Columns(NamedTuple):
    """Index of the path and of the label in a line; None for a list without labels."""

    path: int
    label: int | None


class LineParser:
    """Parses the lines of one list, in order.

    Args:
        prefixes: What an absolute path or URL of a file below the root of the list begins with.
    """

    def __init__(self, prefixes: tuple[str, ...]) -> None:
        self._prefixes = prefixes
        self._columns: _Columns | None = None
        self._begun = False

    def parse(self, line: bytes) -> tuple[str, str] | None:
        """Path, relative to the root and without `.` and empty parts, and label, "" for none.

        Returns:
            None for a blank line, a comment and the header.

        Raises:
            BadLine: When the line names no file below the root.
        """
        text = _text(line)
        if not text or text.startswith("#"):
            return None
        fields = _fields(text, named=self._columns is not None)
        if not self._begun:
            self._begun = True
            self._columns = _header(fields)
            if self._columns is not None:
                return None
        path, label = self._chosen(fields)
        return self._relative(path), _checked_label(label, path)

    def _chosen(self, fields: list[str]) -> tuple[str, str]:
        columns = self._columns
        if columns is None:
            if len(fields) > 2:
                raise BadLine("not path,label", f"{len(fields)} fields", fields[0])
            return fields[0], fields[1] if len(fields) > 1 else ""
        if len(fields) <= max(columns.path, columns.label or 0):
            raise BadLine("not as its header", f"{len(fields)} fields", fields[0])
        return fields[columns.path], "" if columns.label is None else fields[columns.label]

    def _relative(self, path: str) -> str:
        """A path without `.` and empty parts; an absolute one, or a URL, without the root."""
        relative = path
        if path.startswith("/") or "://" in path:
            prefix = next((prefix for prefix in self._prefixes if path.startswith(prefix)), None)
            if prefix is None:
                raise BadLine("outside the folder of the list", "an absolute path", path)
            relative = path[len(prefix) :]
        parts = [part for part in relative.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise BadLine("outside the folder of the list", "a path with ..", path)
        if not parts or "\0" in relative:
            raise BadLine("not a path", "no file can have this name", path)
        return "/".join(parts)


def _text(line: bytes) -> str:
    """A line as text, without spaces around it."""
    if len(line) > MAX_LINE_BYTES:
        raise BadLine("line is too long", f"more than {MAX_LINE_BYTES:,} bytes")
    try:
        return line.decode().strip()
    except UnicodeDecodeError as error:
        raise BadLine("file name is not UTF-8", line[:_SHOWN_BYTES].decode("utf-8", "surrogateescape")) from error


def _fields(text: str, *, named: bool) -> list[str]:
    """The fields of a line.

    Without a header, an image with a comma in its name is understood without quotes; `path 123` always is.
    """
    if '"' not in text:
        if "," not in text:
            parts = text.rsplit(None, 1)
            return parts if parts[-1].isdecimal() and is_image_name(parts[0]) else [text]
        if not named and is_image_name(text) and not is_image_name(text.split(",", 1)[0].rstrip()):
            return [text]
    try:
        return [field.strip() for field in next(csv.reader([text], skipinitialspace=True, strict=True))]
    except csv.Error as error:
        raise BadLine("not a line of CSV", str(error)) from error


def _header(fields: list[str]) -> _Columns | None:
    """The columns that a first line names; None if it is no header."""
    names = [field.lower() for field in fields]
    if _PATH not in names:
        return None
    return _Columns(names.index(_PATH), names.index(_LABEL) if _LABEL in names else None)


def _checked_label(label: str, path: str) -> str:
    label = nfc(label)
    if "/" in label or not label.isprintable() or len(label.encode()) > _MAX_LABEL_BYTES:
        detail = f"expected at most {_MAX_LABEL_BYTES} bytes of printable text without /"
        raise BadLine("label is not valid", detail, path)
    return label
