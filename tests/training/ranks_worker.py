"""Runs of one rank among several, for `test_ranks`: python ranks_worker.py FOLDER, with a file `runs.json` in it."""

import json
import sys
from pathlib import Path

import torch.distributed

from iptdata.training import loop
from iptdata.training.events import Observer
from iptdata.training.run import run_training

MEMORY = 30_000_000_512  # bytes of the first rank's made-up GPU, as many more for each next one


def main() -> None:
    folder = Path(sys.argv[1])
    torch.distributed.init_process_group("gloo")
    loop.peak_memory = lambda device: MEMORY * (1 + torch.distributed.get_rank())  # pyright: ignore[reportAttributeAccessIssue]
    for name, options in json.loads((folder / "runs.json").read_text()).items():
        result = run_training([options], str(folder / name), Observer())
        (folder / name / f"result-{torch.distributed.get_rank()}.json").write_text(json.dumps(vars(result)))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
