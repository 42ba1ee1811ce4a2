"""Studies: several trainings that answer one question together, summarized in a table and a figure."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from iptdata.studies.check import TrainingEstimate, estimate
    from iptdata.studies.execute import run_study
    from iptdata.studies.options import StudyOptions
    from iptdata.studies.part import MeasureResult, PartResult
    from iptdata.studies.plan import Part, StudyPlan, plan_study
    from iptdata.studies.study import Study, load_study, shipped_studies

__all__ = [
    "MeasureResult",
    "Part",
    "PartResult",
    "Study",
    "StudyOptions",
    "StudyPlan",
    "TrainingEstimate",
    "estimate",
    "load_study",
    "plan_study",
    "run_study",
    "shipped_studies",
]

_MODULES = {
    "MeasureResult": "part",
    "Part": "plan",
    "PartResult": "part",
    "Study": "study",
    "StudyOptions": "options",
    "StudyPlan": "plan",
    "TrainingEstimate": "check",
    "estimate": "check",
    "load_study": "study",
    "plan_study": "plan",
    "run_study": "execute",
    "shipped_studies": "study",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use, so that reading `options` does not import torch."""
    if name in _MODULES:
        return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
