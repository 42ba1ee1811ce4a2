"""ImageNet to WebDataset shards of corrupted/clean patch pairs, and a PyTorch IPT that trains on them.

    import iptdata

    iptdata.build("imagenet/train", "corpus", ["rain", "noise30"], holdout=0.01)
    result = iptdata.train("corpus", "runs/small", model="ipt-tiny", batch_size=16, steps=500)
    scores = iptdata.evaluate(result.last_checkpoint, "CBSD68", tasks="noise30")
    restored = iptdata.Restorer(result.last_checkpoint, "noise30")(image)

Options are keyword arguments, named as the flags of the command line; errors are subclasses of `IptDataError`. Heavy
dependencies are imported on first use.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iptdata.lazy import on_first_use

if TYPE_CHECKING:
    from iptdata.builder import BuildResult, build
    from iptdata.errors import IptDataError
    from iptdata.evaluation import Score, evaluate
    from iptdata.inspection import Corpus
    from iptdata.recipe import Recipe, load_recipes
    from iptdata.restoration import Restorer, restore
    from iptdata.stream import DeviceStream, PairStream
    from iptdata.training import RunResult, train

__all__ = [
    "BuildResult",
    "Corpus",
    "DeviceStream",
    "IptDataError",
    "PairStream",
    "Recipe",
    "Restorer",
    "RunResult",
    "Score",
    "__version__",
    "build",
    "evaluate",
    "load_recipes",
    "restore",
    "train",
]
__version__ = "0.1.0"

__getattr__: Callable[[str], Any] = on_first_use(
    __name__,
    {
        "BuildResult": "builder",
        "Corpus": "inspection",
        "DeviceStream": "stream",
        "IptDataError": "errors",
        "PairStream": "stream",
        "Recipe": "recipe",
        "Restorer": "restoration",
        "RunResult": "training",
        "Score": "evaluation",
        "build": "builder",
        "evaluate": "evaluation",
        "load_recipes": "recipe",
        "restore": "restoration",
        "train": "training",
    },
)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
