"""The measured cost of half precision: what is compared with what, not how fast it is."""

from collections.abc import Iterator

import pytest
import torch

from iptdata.model import half_precision
from iptdata.model.half_precision import slowdown

CPU = torch.device("cpu")


@pytest.fixture
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_compared_with_float32(dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {dtype: 3.0, torch.float32: 2.0}
    monkeypatch.setattr(half_precision, "_shortest", lambda device, measured: seconds[measured])
    assert slowdown(CPU, dtype) == 1.5


def test_the_first_call_and_delayed_ones_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that moves with the products: the first starts up, the second is delayed, the others take 2 ms."""
    durations = iter([5.0, 9.0, *[0.002] * 50])
    clock = [0.0]

    def product(rows: torch.Tensor, weights: torch.Tensor) -> None:
        assert rows.dtype == weights.dtype == torch.bfloat16
        clock[0] += next(durations)

    monkeypatch.setattr(half_precision, "_product", product)
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    assert half_precision._shortest(CPU, torch.bfloat16) == pytest.approx(0.002)


@pytest.mark.usefixtures("two_threads")
def test_a_measurement_leaves_threads_and_random_state_unchanged() -> None:
    state = torch.get_rng_state()
    assert slowdown(CPU, torch.bfloat16) > 0
    assert torch.get_num_threads() == 2
    assert torch.get_rng_state().equal(state)


@pytest.mark.usefixtures("two_threads")
def test_threads_are_restored_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(device: torch.device, dtype: torch.dtype) -> float:
        assert torch.get_num_threads() == 1
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(half_precision, "_shortest", fail)
    for _ in range(2):
        with pytest.raises(torch.OutOfMemoryError):
            slowdown(CPU, torch.bfloat16)
    assert torch.get_num_threads() == 2
