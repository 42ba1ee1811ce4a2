"""An S3 server on the loopback interface, with a record of its requests."""

import logging
import os
import re
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from iptdata.builder.image_table import CACHE
from iptdata.files import Storage

ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_EC2_METADATA_DISABLED": "true",
}


class S3Server:
    """Moto's server in a thread of this process.

    Attributes:
        requests: Method and path, with options, of each request since the last `clear`.
        sent: Bytes of the bodies that were sent, by method.
        received: Bytes of the bodies that were received, by method.
        signers: Access key and region, "KEY/REGION", of the requests.
    """

    def __init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app  # noqa: PLC0415, takes 0.3 s
        from werkzeug.serving import make_server  # noqa: PLC0415

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self._app: Any = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._counted, threaded=True)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.clear()

    def clear(self) -> None:
        """Forget the requests."""
        self.requests: list[tuple[str, str]] = []
        self.sent: Counter[str] = Counter()
        self.received: Counter[str] = Counter()
        self.signers: set[str] = set()

    @property
    def methods(self) -> Counter[str]:
        """Number of requests by method."""
        return Counter(method for method, _ in self.requests)

    @property
    def endpoint(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self._server.server_port}"

    @property
    def query(self) -> str:
        """The options of a URL of this server."""
        return f"?endpoint_override={self.endpoint}&scheme=http"

    def url(self, path: str) -> str:
        """The URL of a path that begins with the bucket."""
        return f"s3://{path}{self.query}"

    def bucket(self) -> str:
        """Make a bucket; returns its name."""
        name = f"bucket-{uuid.uuid4().hex[:12]}"
        root = Storage(self.url(name) + "&allow_bucket_creation=true")
        root.make_folder()
        return name

    def upload(self, folder: Path, path: str) -> str:
        """Copy a folder to a path that begins with the bucket; returns its URL."""
        storage = Storage(self.url(path))
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                with storage.writing(file.relative_to(folder).as_posix()) as sink:
                    sink.write(memoryview(file.read_bytes()))
        return self.url(path)

    @contextmanager
    def running(self) -> Iterator["S3Server"]:
        """Serve during the block."""
        self._thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    @contextmanager
    def refusing(self, code: str, status: str) -> Iterator[None]:
        """Answer every request of the block with an error."""
        app = self._app
        body = f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode()

        def refuse(_: dict[str, Any], start_response: Callable[..., Any]) -> list[bytes]:
            start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
            return [body]

        self._app = refuse
        try:
            yield
        finally:
            self._app = app

    def _counted(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING")
        self.requests.append((method, environ["PATH_INFO"] + (f"?{query}" if query else "")))
        if found := re.search(r"Credential=([^/]+)/\d+/([^/]+)/", environ.get("HTTP_AUTHORIZATION", "")):
            self.signers.add(f"{found[1]}/{found[2]}")
        self.received[method] += int(environ.get("HTTP_X_AMZ_DECODED_CONTENT_LENGTH") or environ.get("CONTENT_LENGTH") or 0)
        for part in self._app(environ, start_response):
            self.sent[method] += len(part) if method != "HEAD" else 0
            yield part


def files_at(url: str) -> dict[str, bytes]:
    """All objects below a URL, without those that stand for folders and those that a corpus keeps for the next build."""
    storage = Storage(url)
    found: dict[str, bytes] = {}
    folders = [""]
    while folders:
        folder = folders.pop()
        prefix = f"{folder}/" if folder else ""
        found |= {prefix + name: storage.read(prefix + name) for name in storage.sizes(folder)}
        folders += [prefix + name for name in storage.folders(folder) if name != CACHE]
    return dict(sorted(found.items()))


def clean_environment() -> dict[str, str]:
    """The environment without settings of AWS but those of the tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AWS_")} | ENVIRONMENT
