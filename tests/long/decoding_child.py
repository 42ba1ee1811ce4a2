"""Decode the files that arrive on standard input, in at most 1 GB above what the libraries take; a line of JSON for each.

A file is preceded by its length in 4 bytes and by a byte of flags: 1 keeps damaged files, 2 asks for alpha.
"""

import json
import re
import resource
import sys
import time
from pathlib import Path

from iptdata.image.decode import Unusable, decode
from tests.image.files import files

GIGABYTE = 1 << 30
STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def memory(field: str) -> int:
    """Bytes of VmSize, VmRSS or VmHWM."""
    found = re.search(rf"{field}:\s+(\d+) kB", STATUS.read_text())
    assert found
    return int(found[1]) * 1024


def main() -> None:
    for sample in files().values():  # loads all libraries
        try:
            decode(sample.data)
        except Unusable:
            continue
    limit = memory("VmSize") + GIGABYTE
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source = sys.stdin.buffer
    while header := source.read(5):
        data = source.read(int.from_bytes(header[:4], "big"))
        CLEAR.write_text("5")  # resets VmHWM
        before, start = memory("VmRSS"), time.perf_counter()
        try:
            decoded = decode(data, keep_damaged=bool(header[4] & 1), with_alpha=bool(header[4] & 2))
            outcome = "damaged, kept" if decoded.damage else "decoded"
            detail = str(decoded.pixels.shape)
        except Unusable as error:
            outcome, detail = error.reason, error.detail
        seconds = time.perf_counter() - start
        decoded = None
        line = {"outcome": outcome, "detail": detail, "seconds": seconds, "bytes": memory("VmHWM") - before}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
