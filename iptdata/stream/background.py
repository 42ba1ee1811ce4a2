"""An iterator that runs in a background thread, a few items ahead of its consumer."""

import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

_END = object()


class BackgroundIterator:
    """Iterates in a background thread; its errors are raised in the consumer.

    Args:
        items: Returns the iterator to run in the thread.
        max_buffered: Number of items that the thread may be ahead.
    """

    def __init__(self, items: Callable[[], Iterator[Any]], max_buffered: int) -> None:
        self._ready: queue.Queue[Any] = queue.Queue(maxsize=max_buffered)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._fill, args=(items,), daemon=True, name="iptdata-device")
        self._thread.start()

    def __iter__(self) -> Iterator[Any]:
        while not self._stopping.is_set():
            item = self._ready.get()
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            yield item

    def stop(self) -> None:
        """Stop the thread, at the latest when it has its next item."""
        self._stopping.set()
        while self._thread.is_alive():
            while not self._ready.empty():
                self._ready.get_nowait()
            self._thread.join(timeout=0.01)

    def _fill(self, items: Callable[[], Iterator[Any]]) -> None:
        try:
            for item in items():
                self._ready.put(item)
                if self._stopping.is_set():
                    return
            self._ready.put(_END)
        except BaseException as error:  # noqa: BLE001
            self._ready.put(error)
