"""The containers of a source, as they are sent to workers."""

import pickle
from pathlib import Path

import pytest

from iptdata.files import Storage
from iptdata.source.containers import Containers
from iptdata.source.open import open_source
from iptdata.source.tar import TarSource
from tests.source.every_form import WRITERS


def test_a_job_does_not_carry_the_paths_of_all_containers(tmp_path: Path) -> None:
    paths = tuple(f"n{number:08d}.tar" for number in range(20_000))
    source = TarSource(Containers(Storage(str(tmp_path)), paths, "classes"))
    assert len(pickle.dumps(source)) < 1000


@pytest.mark.parametrize("form", WRITERS)
def test_a_source_that_was_sent_reads_what_was_listed(form: str, tmp_path: Path) -> None:
    images = {f"n0144076{number % 2}/n0144076{number % 2}_{number}.JPEG": bytes([number + 1]) * 9 for number in range(12)}
    source = open_source(str(WRITERS[form](images, tmp_path)))
    listed = source.list().images(range(12))
    with pickle.loads(pickle.dumps(source)).reading() as read:
        assert {image.key: read(image) for image in listed} == images
