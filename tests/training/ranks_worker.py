"""Runs of one rank among several, for `test_ranks`: python ranks_worker.py FOLDER, with a file `runs.json` in it."""

import json
import sys
from pathlib import Path

import torch

from iptdata.training import loop
from iptdata.training.contrastive import contrastive_loss
from iptdata.training.contrastive_blocks import BLOCK_ELEMENTS
from iptdata.training.events import Observer
from iptdata.training.ranks import Ranks
from iptdata.training.run import run_training

IMAGES = {1: (8,), 2: (3, 5), 3: (2, 3, 3)}  # of each rank


def losses(ranks: Ranks) -> dict[str, list[torch.Tensor]]:
    """Value, and gradient of this rank's images, of each contrastive loss in each precision.

    In 21 blocks of one size on any number of ranks, since in bf16 sums over a block are rounded.
    """
    images, found = IMAGES[ranks.size], {}
    tokens = torch.randn(8, 6, 16, generator=torch.Generator().manual_seed(0)).split(images)[ranks.rank]
    for form in ("paper", "supcon"):
        for precision in ("fp32", "bf16"):
            own = tokens.clone().requires_grad_()
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                value = contrastive_loss(own, form, ranks, images)
            value.backward()
            assert own.grad is not None
            found[f"{form}, {precision}"] = [value.detach(), own.grad]
    return found


MEMORY = 30_000_000_512  # bytes of the first rank's made-up GPU, as many more for each next one


def main() -> None:
    folder = Path(sys.argv[1])
    torch.distributed.init_process_group("gloo")
    loop.peak_memory = lambda device: MEMORY * (1 + torch.distributed.get_rank())  # pyright: ignore[reportAttributeAccessIssue]
    for name, options in json.loads((folder / "runs.json").read_text()).items():
        result = run_training([options], str(folder / name), Observer())
        (folder / name / f"result-{torch.distributed.get_rank()}.json").write_text(json.dumps(vars(result)))
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    BLOCK_ELEMENTS["cpu"] = 8 * 8
    torch.save(losses(Ranks(rank=rank, size=size)), folder / f"losses-{rank}.pt")
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
