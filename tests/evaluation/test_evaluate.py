"""`evaluate` as a Python caller meets it: callbacks, skipped benchmarks, saved images."""

import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from iptdata.errors import EvaluateError, EvaluateFailed
from iptdata.evaluation import evaluate, plan_measurements, run_measurements
from iptdata.restoration import Identity, Restorer
from tests.conftest import natural_image, save


@pytest.fixture
def kodak(tmp_path: Path) -> Path:
    for index in range(2):
        save(tmp_path / "Kodak" / f"{index}.png", natural_image(30, 40, index))
    return tmp_path / "Kodak"


def test_tasks_of_a_checkpoint_without_images_are_skipped(kodak: Path, ipt_file: str) -> None:
    images: list[str] = []
    reasons: list[str] = []
    (score,) = evaluate(ipt_file, kodak, on_image=images.append, on_skip=reasons.append)
    assert (score.benchmark, score.protocol.task, score.restorer) == ("Kodak", "noise30", ipt_file)
    assert images == ["0", "1"]
    assert len(reasons) == 1
    assert reasons[0].startswith(f"benchmark {kodak} has no images for rain")
    with pytest.raises(EvaluateError, match="has no images for rain"):
        evaluate(ipt_file, kodak, tasks=["rain"])


def test_options_reach_the_network_and_the_protocol(kodak: Path, ipt_file: str) -> None:
    (item,) = plan_measurements(
        ipt_file, [kodak], tasks="noise10", head="rain", clip=False, seed=3, overlap=4, batch_size=2, device="cpu"
    )
    network = item.restorer
    assert (network.name, network.task, network.overlap, network.batch_size) == (f"{ipt_file}, head rain", "rain", 4, 2)  # pyright: ignore[reportAttributeAccessIssue]
    assert (item.protocol.clip, item.protocol.seed, len(item.benchmark.cases)) == (False, 3, 2)
    assert run_measurements([item])[0].protocol == item.protocol


def test_tiles_share_half_of_a_tile_or_24_pixels(kodak: Path, ipt_file: str, edsr_file: str) -> None:
    """More than photos do by default: what is measured is worth its time."""
    for file, measured, restored in ((ipt_file, 12, 10), (edsr_file, 24, 10)):
        (item,) = plan_measurements(file, [kodak], tasks="noise30")
        assert item.restorer.overlap == measured  # pyright: ignore[reportAttributeAccessIssue]
        assert Restorer(file).overlap == restored
        (given,) = plan_measurements(file, [kodak], tasks="noise30", overlap=0)
        assert given.restorer.overlap == 0  # pyright: ignore[reportAttributeAccessIssue]


def test_scores_say_how_they_were_computed(kodak: Path, ipt_file: str) -> None:
    (score,) = evaluate(ipt_file, kodak, tasks="noise30", precision="bf16", device="cpu")
    assert str(score.execution) == "CPU, bf16, tiles of 24x24 with overlap 12"
    assert pickle.loads(pickle.dumps(score)) == score, "it is sent between processes"
    (mean,) = evaluate(ipt_file, kodak, tasks="noise30", device="cpu", self_ensemble=True)
    assert str(mean.execution) == "CPU, fp32, tiles of 24x24 with overlap 12, self-ensemble"
    (baseline,) = evaluate(benchmarks=kodak, baseline="identity", tasks="noise30")
    assert baseline.execution is None


def test_restored_images_are_saved(kodak: Path, tmp_path: Path) -> None:
    (score,) = evaluate(benchmarks=kodak, baseline="bicubic", tasks=("sr2",), save_images=tmp_path / "images")
    assert [row.name for row in score.rows] == ["0", "1"]
    saved = np.asarray(Image.open(tmp_path / "images" / "Kodak" / "sr2" / "0.png"))
    assert np.abs(saved.astype(int) - natural_image(30, 40)).mean() < 10


def test_two_benchmarks_of_one_name(kodak: Path, tmp_path: Path) -> None:
    other = tmp_path / "other" / "Kodak"
    save(other / "0.png", natural_image(30, 40))
    options: dict[str, Any] = {"baseline": "identity", "tasks": "noise30"}
    assert len(evaluate(benchmarks=[kodak, other], **options)) == 2
    with pytest.raises(EvaluateError, match=r"save_images: .* are both called Kodak\. Measure them separately"):
        plan_measurements(None, [kodak, other], save_images="images", **options)


def test_pairs_are_measured_for_every_task(kodak: Path) -> None:
    (score,) = evaluate(pairs=[(kodak, kodak)], baseline="identity", tasks=["rain"])
    assert score.mean("psnr_rgb") == 100


def test_an_image_that_cannot_be_saved_does_not_end_the_others(kodak: Path, tmp_path: Path) -> None:
    save(kodak / "b.png", natural_image(24, 24))
    names = [path.stem for path in sorted(kodak.glob("*.png"))]
    assert len(names) > 1
    (tmp_path / "out" / tmp_path.name / "rain" / f"{names[0]}.png").mkdir(parents=True)
    (score,) = evaluate(pairs=[(kodak, kodak)], baseline="identity", tasks=["rain"], save_images=str(tmp_path / "out"))
    assert [row.name for row in score.rows] == names[1:]
    (problem,) = score.problems
    assert "is a folder, expected a file" in problem


@pytest.mark.parametrize("error", [MemoryError(), EvaluateFailed("the network failed")])
def test_an_image_that_cannot_be_restored_does_not_end_the_others(
    kodak: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    save(kodak / "b.png", natural_image(24, 24))
    calls = []

    def restored(self: object, image: np.ndarray) -> np.ndarray:
        calls.append(image)
        if len(calls) == 1:
            raise error
        return image

    monkeypatch.setattr(Identity, "__call__", restored)
    (score,) = evaluate(pairs=[(kodak, kodak)], baseline="identity", tasks=["rain"])
    (problem,) = score.problems
    assert problem.startswith(f"{sorted(path.stem for path in kodak.iterdir())[0]}: "), "it names the image"
    assert len(score.rows) == len(calls) - 1 >= 1


def test_given_noisy_images_are_not_compared_with_published_noise(kodak: Path, tmp_path: Path) -> None:
    """Nothing is known of the noise in files: neither its sigma nor whether it was clipped."""
    folder = tmp_path / "Kodak24"
    for name in ("noisy", "clean"):
        shutil.copytree(kodak, folder / name)
    pairs = [(folder / "noisy", folder / "clean")]
    (score,) = evaluate(pairs=pairs, baseline="identity", tasks=["noise50"], clip=False)
    assert (score.benchmark, score.protocol.channel, score.quoted) == ("Kodak24", "RGB", 100)
    assert "noise not" not in score.protocol.caption
    assert score.published("SwinIR") == []
    (made,) = evaluate(benchmarks=folder / "clean", baseline="identity", tasks=["noise50"], clip=False)
    assert made.protocol.sigma == 50
