"""Studies: several trainings that answer one question together, summarized in a table and a figure."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from iptdata.lazy import on_first_use

if TYPE_CHECKING:
    from iptdata.studies.check import TrainingEstimate, estimate_trainings
    from iptdata.studies.execute import run_study
    from iptdata.studies.options import StudyOptions
    from iptdata.studies.plan import Part, StudyPlan, plan_study
    from iptdata.studies.results import MeasureResult, PartResult
    from iptdata.studies.study import Study, load_study, shipped_studies

__all__ = [
    "MeasureResult",
    "Part",
    "PartResult",
    "Study",
    "StudyOptions",
    "StudyPlan",
    "TrainingEstimate",
    "estimate_trainings",
    "load_study",
    "plan_study",
    "run_study",
    "shipped_studies",
]

__getattr__: Callable[[str], Any] = on_first_use(
    __name__,
    {
        "MeasureResult": "results",
        "Part": "plan",
        "PartResult": "results",
        "Study": "study",
        "StudyOptions": "options",
        "StudyPlan": "plan",
        "TrainingEstimate": "check",
        "estimate_trainings": "check",
        "load_study": "study",
        "plan_study": "plan",
        "run_study": "execute",
        "shipped_studies": "study",
    },
)
