"""Batches of photos: which ones inputs match, and that none of them ends the batch."""

import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from iptdata.errors import DiskFull, EvaluateError, EvaluateFailed
from iptdata.files.storage import Storage
from iptdata.restoration.find import find_photos
from iptdata.restoration.photo import read_photo
from iptdata.restoration.photos import PhotoResult, restore
from iptdata.restoration.restorer import Restorer
from tests.conftest import natural_image, save, small_disk


def test_photos_of_inputs(folder: Path) -> None:
    for name in ("a.png", "b.jpg", "deep/c.png"):
        save(folder / name, natural_image(8, 8))
    (folder / "notes.txt").write_text("")
    out = str(folder.parent / "out")
    assert [job.target for job in find_photos([str(folder)], out)] == [
        f"{out}/{name}" for name in ("a.png", "b.jpg", "deep/c.png")
    ]
    assert [job.path for job in find_photos([str(folder / "*.png"), str(folder / "a.png")], out)] == [str(folder / "a.png")]
    with pytest.raises(EvaluateError, match="matches no image, expected a photo, a folder of photos or a glob"):
        find_photos([str(folder / "*.gif")], out)
    save(folder.parent / "other" / "a.png", natural_image(8, 8))
    with pytest.raises(EvaluateError, match=r"would be replaced by its result\. Choose another out"):
        find_photos([str(folder / "a.png")], str(folder))
    save(folder / "a.jpg", natural_image(8, 8))
    assert len(find_photos([str(folder)], out)) == 4
    assert len(find_photos([str(folder)], str(folder.parent))) == 4
    with pytest.raises(EvaluateError, match="would be replaced by its result"):
        find_photos([str(folder)], str(folder))


def test_an_input_without_photos_does_not_end_the_others(folder: Path, ipt_file: str) -> None:
    save(folder / "a.png", natural_image(8, 8))
    (folder / "empty").mkdir()
    inputs = [folder / "gone.png", folder / "a.png", str(folder / "*.gif"), folder / "empty"]
    results = restore(inputs, folder.parent / "out", ipt_file, "rain")
    assert [result.status for result in results] == ["failed", "done", "failed", "failed"]
    assert all(result.problem.count(result.path) == 1 for result in results if result.status == "failed")


def test_the_home_folder_in_the_path_of_results(folder: Path, ipt_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(folder))
    save(folder / "in" / "a.png", natural_image(8, 8))
    restore("~/in", "~/out", ipt_file, "rain")
    assert (folder / "out" / "a.png").is_file()


def test_results_below_the_photos_are_not_restored_again(folder: Path, ipt_file: str) -> None:
    save(folder / "a.png", natural_image(8, 8))
    out = str(folder / "restored")

    def statuses(**options: Any) -> list[str]:
        return [result.status for result in restore([folder], out, ipt_file, "rain", **options)]

    assert statuses(compare=False) == ["done"]
    assert statuses(compare=True) == ["done"], "the side-by-side image was missing"
    assert statuses(compare=True) == ["skipped"]
    assert statuses(compare=True, overwrite=True) == ["done"]
    assert sorted(os.listdir(out)) == ["a-compare.png", "a.png"]


def pipe(path: Path) -> None:
    os.mkfifo(path)


def socket(path: Path) -> None:
    os.mknod(path, 0o140644)


def dangling(path: Path) -> None:
    path.symlink_to("nothing.png")


def link_to_itself(path: Path) -> None:
    path.symlink_to(path)


def link_loop(path: Path) -> None:
    path.symlink_to(path.parent)


def cut(path: Path) -> None:
    whole = save(path, natural_image(50, 50)).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def empty(path: Path) -> None:
    path.touch()


def another_format(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0")


def deep(path: Path) -> None:
    save(path, natural_image(8, 8).astype(np.uint16))


def animation(path: Path) -> None:
    frames = [Image.fromarray(natural_image(8, 8, seed)) for seed in (0, 1)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def large_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


def large_photo(path: Path) -> None:
    save(path, np.zeros((101, 100, 3), np.uint8))


BAD: list[Callable[[Path], None]] = [
    *(pipe, socket, dangling, link_to_itself, link_loop, cut, empty, another_format, deep, animation, large_file, large_photo)
]


def restored(inputs: Any, out: Path, network: str, task: str = "noise30", **options: Any) -> dict[str, PhotoResult]:
    """Results by the name of the photo; a problem is one line that names it."""
    results = restore(inputs, out, network, task, **options)
    for result in results:
        assert (result.status == "failed") == bool(result.problem)
        assert result.status == "failed" or Path(result.target).is_file()
        assert "\n" not in result.problem
    return {os.path.basename(result.path): result for result in results}


@pytest.mark.parametrize("make", BAD, ids=lambda make: make.__name__)
@pytest.mark.parametrize("how", ["folder", "glob", "names"])
def test_a_bad_photo_does_not_stop_the_others(folder: Path, edsr_file: str, make: Callable[[Path], None], how: str) -> None:
    for name in ("a.png", "c.png"):
        save(folder / name, natural_image(8, 8))
    make(folder / "b.png")
    if how != "folder" and make is link_loop:
        pytest.skip("a folder")
    names = [str(folder / name) for name in ("a.png", "b.png", "c.png")]
    inputs = {"folder": folder, "glob": str(folder / "*.png"), "names": names}[how]
    found = restored(inputs, folder.parent / "out", edsr_file, max_pixels=10_000)
    assert {name: result.status for name, result in found.items()} == {"a.png": "done", "b.png": "failed", "c.png": "done"}
    assert str(folder / "b.png") in found["b.png"].problem


@pytest.mark.parametrize("compare", [False, True])
def test_photos_with_the_same_result(folder: Path, edsr_file: str, compare: bool) -> None:
    for number, name in enumerate(
        ("one/a.png", "one/b-compare.png", "one/b.png", "one/c.jpg", "one/c.png", "two/a.png", "two/d.png")
    ):
        save(folder / name, natural_image(8, 8, number))
    out = folder.parent / "out"
    for again in (False, True):
        results = restore([folder / "one", folder / "two"], out, edsr_file, "noise30", compare=compare)
        problems = {os.path.relpath(result.path, folder): result.problem for result in results if result.problem}
        assert problems.keys() == ({"one/b.png", "one/c.png", "two/a.png"} if compare else {"two/a.png"})
        assert problems["two/a.png"] == (
            f"{folder}/one/a.png and {folder}/two/a.png would both be written to {out}/a.png. "
            "Restore them into different folders."
        )
        others = {result.status for result in results if not result.problem}
        assert others == {"skipped" if again else "done"}
    assert np.array_equal(np.asarray(Image.open(out / "a.png")), natural_image(8, 8, 0))
    assert Image.open(out / "b-compare.png").size == (8, 8), "the photo of this name, not the two of b.png"


def test_targets_that_cannot_be_written(folder: Path, edsr_file: str) -> None:
    for name in ("a.png", "b.png", "below/c.png", "d.png", "e" * 245 + ".png"):
        save(folder / name, natural_image(8, 8))
    save(folder / "f.webp", natural_image(1, 8200))
    save(folder / "g.jpg", natural_image(32_800, 1))
    out = folder.parent / "out"
    (out / "b.png").mkdir(parents=True)
    (out / "below").touch()
    found = restored(folder, out, edsr_file, "sr2", compare=True)
    problems = {name: result.problem for name, result in found.items() if result.problem}
    long = problems.pop("e" * 245 + ".png")
    assert re.search("e-compare.png.*too long", long)
    assert (out / ("e" * 245 + ".png")).is_file(), "its own name is short enough"
    assert problems == {
        "b.png": f"{out}/b.png is a folder, expected a file. Choose another out.",
        "c.png": f"cannot use {out}/below/c.png: Not a directory",
        "f.webp": f"{out}/f.webp cannot be written as WEBP: a result of 16400x2 is too large. Use .png.",
        "g.jpg": f"{out}/g.jpg cannot be written as JPEG: a result of 2x65600 is too large. Use .png.",
    }
    assert not any(name.endswith(".partial") for name in os.listdir(out))


def test_a_photo_that_disappears(folder: Path, edsr_file: str) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(folder / name, natural_image(8, 8))

    def remove(result: PhotoResult) -> None:
        (folder / "b.png").unlink(missing_ok=True)

    found = restored(folder, folder / "out", edsr_file, on_photo=remove)
    assert [result.status for result in found.values()] == ["done", "failed", "done"]
    assert found["b.png"].problem == (
        f"{folder}/b.png cannot be read as an image: cannot use {folder}/b.png: No such file or directory"
    )


@pytest.mark.parametrize("error", [MemoryError, torch.OutOfMemoryError, RuntimeError("can't allocate memory\nof 9 GB")])
def test_too_little_memory_for_one_photo(
    folder: Path, edsr_file: str, monkeypatch: pytest.MonkeyPatch, error: type[Exception] | Exception
) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(folder / name, natural_image(9 if name == "b.png" else 8, 8))
    forward = Restorer._forward

    def failing(self: Restorer, x: torch.Tensor) -> torch.Tensor:
        if x[0, :, 8].sum() != x[0, :, 7].sum():  # the small ones are mirrored below row 7
            raise error
        return forward(self, x)

    monkeypatch.setattr(Restorer, "_forward", failing)
    found = restored(folder, folder / "out", edsr_file)
    assert [result.status for result in found.values()] == ["done", "failed", "done"]
    failure = found["b.png"].error
    assert isinstance(failure, EvaluateFailed)
    assert failure.message.startswith(f"{folder}/b.png cannot be restored: ")
    assert failure.__traceback__ is failure.__cause__ is failure.__context__ is None, "they would keep the pixels in memory"


def test_a_result_larger_than_memory(folder: Path, edsr_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("iptdata.restoration.photos.memory_bytes", lambda: 2**31)
    save(folder / "a.png", natural_image(8, 8))
    save(folder / "b.png", np.zeros((9_000, 8_000, 3), np.uint8))
    found = restored(folder, folder / "out", edsr_file, "sr2")
    assert [result.status for result in found.values()] == ["done", "failed"]
    assert found["b.png"].problem == (
        f"{folder}/out/b.png cannot be made: 16000x18000 pixels need 2.2 GB of memory, found 2.1 GB. "
        "Restore parts of the photo."
    )


def test_a_full_disk_ends_the_batch(folder: Path, edsr_file: str) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(folder / name, natural_image(8 if name == "a.png" else 600, 600))
    seen: list[PhotoResult] = []
    with (
        small_disk(folder.parent / "out", "700k") as out,
        pytest.raises(DiskFull, match=r"the disk is full: cannot write .*b\.png"),
    ):
        restore(folder, out, edsr_file, "sr2", on_photo=seen.append)
    assert [result.status for result in seen] == ["done"]


def test_one_result_that_the_disk_refuses(folder: Path, edsr_file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.png", "b.png", "c.png"):
        save(folder / name, natural_image(8, 8))
    write = Storage.write

    def refusing(self: Storage, relative: str, data: bytes) -> None:
        if relative == "b.png":
            raise DiskFull("full") if self.root.endswith("full") else EvaluateError("Permission denied")
        write(self, relative, data)

    monkeypatch.setattr(Storage, "write", refusing)
    assert [result.status for result in restored(folder, folder / "out", edsr_file).values()] == ["done", "failed", "done"]
    with pytest.raises(DiskFull):
        restore(folder, folder / "full", edsr_file, "noise30")


def test_what_folders_and_globs_leave_out(folder: Path) -> None:
    for name in (
        *("a.png", "b/c.PNG", ".hidden.png", "._a.png", ".trash/d.png", "b/.ipynb_checkpoints/e.png", "@eaDir/f.png"),
        *("__MACOSX/g.png", "b/.Trash-1000/files/h.png", "lost+found/i.png", "d.png/j.png"),
    ):
        save(folder / name, natural_image(8, 8))
    out = folder.parent / "out"
    paths = [os.path.relpath(job.path, folder) for job in find_photos(folder, out)]
    assert paths == ["a.png", "b/c.PNG", "d.png/j.png"]
    assert [job.path for job in find_photos(str(folder / "*.png"), out)] == [str(folder / "a.png")]
    assert [job.path for job in find_photos(str(folder / "*/*"), out)] == [
        str(folder / name) for name in ("b/c.PNG", "d.png/j.png")
    ]
    for name in (".hidden.png", ".trash/*.png", "@eaDir/*", "[.]trash/d.png"):
        named = "[" not in name and not name.startswith(".hidden*")
        assert len(find_photos(str(folder / name), out) if named else [1]) == 1, "what is named is meant"
    with pytest.raises(EvaluateError, match="matches no image"):
        find_photos(str(folder / "[_@]*/*"), out)


def test_links_to_folders_are_followed(folder: Path) -> None:
    save(folder.parent / "elsewhere" / "a.png", natural_image(8, 8))
    save(folder / "b.png", natural_image(8, 8))
    (folder / "link").symlink_to("../elsewhere")
    out = folder.parent / "out"
    assert [job.target for job in find_photos(folder, out)] == [f"{out}/b.png", f"{out}/link/a.png"]


def test_results_behind_a_link_are_not_restored_again(folder: Path) -> None:
    out = folder.parent / "out"
    save(folder / "a.png", natural_image(8, 8))
    save(out / "a.png", natural_image(8, 8))
    (folder / "results").symlink_to(out)
    assert [job.path for job in find_photos(folder, out)] == [str(folder / "a.png")]
    assert [job.path for job in find_photos(folder, folder / "results")] == [str(folder / "a.png")]


def test_a_folder_of_rejects_alone(folder: Path, edsr_file: str) -> None:
    pipe(folder / "a.png")
    assert [result.status for result in restored(folder, folder / "out", edsr_file).values()] == ["failed"]


def test_names_that_differ_in_their_unicode_form(folder: Path, edsr_file: str) -> None:
    names = [unicodedata.normalize(form, "\u00e9.png") for form in ("NFC", "NFD")]
    for name in names:
        save(folder / name[:-4] / name, natural_image(8, 8))
    inputs = [folder / name[:-4] for name in names]
    if len(os.listdir(folder)) < 2:
        pytest.skip("this disk does not tell them apart")
    assert [result.status for result in restored(inputs, folder / "out", edsr_file).values()] == ["done", "done"]


@pytest.mark.parametrize("compare", [False, True])
def test_a_disk_that_ignores_case(folder: Path, edsr_file: str, compare: bool) -> None:
    """The disk is imitated by a link between the two names."""
    for number, name in enumerate(("one/photo.png", "two/PHOTO.png")):
        save(folder / name, natural_image(8, 8, number))
    out = folder / "out"

    def link(result: PhotoResult) -> None:
        if result.status == "done":
            for name in os.listdir(out):
                (out / name.replace("photo", "PHOTO")).symlink_to(name)

    inputs = [folder / "one", folder / "two"]
    results = restore(inputs, out, edsr_file, "noise30", on_photo=link, compare=compare)
    assert [result.status for result in results] == ["done", "failed"]
    assert "one/photo.png and " in results[1].problem
    assert np.array_equal(np.asarray(Image.open(out / "photo.png")), natural_image(8, 8, 0))
    again = restore(inputs, out, edsr_file, "noise30", compare=compare, overwrite=True)
    assert [result.status for result in again] == ["done", "failed"], "neither replaced nor skipped"


def test_out_is_a_file(folder: Path) -> None:
    save(folder / "a.png", natural_image(8, 8))
    with pytest.raises(EvaluateError, match=r"out: .*a\.png is a file, expected a folder"):
        find_photos(folder, folder / "a.png")


def test_a_limit_of_pixels(folder: Path) -> None:
    path = str(save(folder / "a.png", np.zeros((101, 100, 3), np.uint8)))
    assert read_photo(path, 10_100).pixels.shape == (101, 100, 3)
    with pytest.raises(EvaluateError, match=r"100x101, more than 10,099\. Raise max_pixels\."):
        read_photo(path, 10_099)


def test_200_megapixels_of_a_phone(folder: Path) -> None:
    Image.new("L", (16_384, 12_288), 128).save(folder / "a.png", compress_level=1)
    photo = read_photo(str(folder / "a.png"))
    assert photo.pixels.shape == (12_288, 16_384, 3)
    assert photo.grey


def test_progress_of_the_tiles_of_each_photo(folder: Path, ipt_file: str) -> None:
    save(folder / "a.png", natural_image(24, 60))
    calls: list[tuple[str, int, int]] = []
    restore(folder, folder / "out", ipt_file, "rain", batch_size=2, overlap=0, on_tiles=lambda *call: calls.append(call))
    assert calls == [(str(folder / "a.png"), done, 3) for done in (0, 2, 3)]
