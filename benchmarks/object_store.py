"""Count what a build asks of an object store: requests and bytes, from each form of a source, and for the corpus.

    python benchmarks/object_store.py --source imagenet/train --images 256

The store is moto's server on the loopback interface, so the times say nothing about a real one and are not printed.
"""

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the server of the tests

from build import linked_source
from source_forms import make_forms

import iptdata
from iptdata.source import open_source
from tests.s3 import ENVIRONMENT, S3Server


def count(server: S3Server, name: str, source: str, out: str, images: int) -> None:
    """Build noise30 and print the requests; the index of containers is counted by itself."""
    server.clear()
    open_source(source).list()
    listed, listed_bytes = server.methods.total(), server.sent.total()
    server.clear()
    iptdata.build(source, out, "noise30", workers=0)
    requests, sent = server.methods.total(), server.sent.total() + server.received.total()
    read, read_bytes = (requests - listed) / images, (sent - listed_bytes) / images
    print(f"{name:<24}{listed:>10,}{listed_bytes:>14,}{read:>18.2f}{read_bytes:>14,.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path("iptdata/source/samples"), help="folder of JPEGs")
    parser.add_argument("--images", type=int, default=256)
    options = parser.parse_args()
    os.environ.update(ENVIRONMENT)
    with tempfile.TemporaryDirectory() as scratch, S3Server().running() as server:
        folder = linked_source(options.source, options.images, Path(scratch) / "source")
        (Path(scratch) / "forms").mkdir()
        forms = make_forms(folder, Path(scratch) / "forms")
        bucket = server.bucket()
        server.upload(Path(scratch) / "forms", f"{bucket}/forms")
        sources = {"folder": server.upload(folder, f"{bucket}/folder")}
        sources |= {name: server.url(f"{bucket}/forms/{Path(path).name}") for name, path in forms.items()}
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        print(f"\n{options.images} images of {size / options.images:,.0f} bytes\n")
        print(f"{'source on S3':<24}{'requests':>10}{'bytes':>14}{'requests':>18}{'bytes':>14}")
        print(f"{'':<24}{'to list':>10}{'to list':>14}{'an image, to build':>18}{'an image':>14}")
        for number, (name, source) in enumerate(sources.items()):
            count(server, name, source, f"{scratch}/out{number}", options.images)
        count(server, "local, corpus on S3", str(folder), server.url(f"{bucket}/corpus"), options.images)


if __name__ == "__main__":
    main()
