"""Runs of one rank among several, for `test_ranks`: python ranks_worker.py FOLDER, with a file `runs.json` in it."""

import json
import sys
from pathlib import Path

import torch.distributed

from iptdata.training.events import Observer
from iptdata.training.run import run_training


def main() -> None:
    folder = Path(sys.argv[1])
    torch.distributed.init_process_group("gloo")
    for name, options in json.loads((folder / "runs.json").read_text()).items():
        result = run_training([options], str(folder / name), Observer())
        (folder / name / f"result-{torch.distributed.get_rank()}.json").write_text(json.dumps(vars(result)))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
