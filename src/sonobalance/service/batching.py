"""One model, one thread, many requests: images that arrive together go through it together."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from sonobalance.config.service import ServiceSettings
from sonobalance.deployment.predictor import Outputs, Squares
from sonobalance.service.gate import Turned, retry
from sonobalance.service.metrics import Metrics

T = TypeVar("T")
SMOOTHING = 0.1  # of the measured seconds per image


@dataclass
class _Waiting:
    square: NDArray[np.uint8]
    answer: asyncio.Future[Outputs]


class Batcher:
    """The model's thread and the queue in front of it.

    Other work on the model (explanations) goes through the same thread, because a network
    remembers its latest forward pass.
    """

    def __init__(
        self, predict: Callable[[Squares], Outputs], settings: ServiceSettings, metrics: Metrics
    ) -> None:
        self.predict, self.settings, self.metrics = predict, settings, metrics
        self.queue: asyncio.Queue[_Waiting] = asyncio.Queue(settings.queue_size)
        self.thread = ThreadPoolExecutor(1, "model")
        self.seconds_per_image = 0.05
        self.others = 0
        self.task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to work; inside the running loop."""
        self.task = asyncio.create_task(self._work())

    async def stop(self) -> None:
        """End; nobody may be waiting any more."""
        if self.task is not None:
            self.task.cancel()
        await asyncio.to_thread(self.thread.shutdown)

    @property
    def alive(self) -> bool:
        """Whether the queue is being worked off."""
        return self.task is not None and not self.task.done()

    async def outputs(self, square: NDArray[np.uint8]) -> Outputs:
        """The outputs for one (S, S) uint8 image, as arrays of one row.

        Raises:
            Turned: the queue is full; says when to try again.
        """
        waiting = _Waiting(square, asyncio.get_running_loop().create_future())
        try:
            self.queue.put_nowait(waiting)
        except asyncio.QueueFull:
            raise self._busy(self.queue.qsize()) from None
        self.metrics.waiting.set(self.queue.qsize())
        return await waiting.answer

    async def alone(self, work: Callable[[], T]) -> T:
        """Do other work on the model's thread.

        Raises:
            Turned: too much of it is waiting.
        """
        if self.others >= self.settings.queue_size // 4 + 1:
            raise self._busy(8 * self.others)
        self.others += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.thread, work)
        finally:
            self.others -= 1

    def _busy(self, images: int) -> Turned:
        text = "The service is busy; try again after the time that Retry-After names."
        return Turned(503, text, retry(images * self.seconds_per_image))

    async def _work(self) -> None:
        while True:
            batch = await self._next()
            self.metrics.waiting.set(self.queue.qsize())
            self.metrics.batches.observe(len(batch))
            begin = time.perf_counter()
            squares = np.stack([one.square for one in batch])
            loop = asyncio.get_running_loop()
            try:
                done = await loop.run_in_executor(self.thread, self.predict, squares)
            except Exception as error:  # noqa: BLE001 - whatever it is, those who wait must hear it
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(error)
                continue
            seconds = (time.perf_counter() - begin) / len(batch)
            self.seconds_per_image += SMOOTHING * (seconds - self.seconds_per_image)
            for i, one in enumerate(batch):
                if not one.answer.done():
                    one.answer.set_result(_row(done, i))

    async def _next(self) -> list[_Waiting]:
        """The next images: whoever waits, and whoever comes within a moment."""
        batch = [await self.queue.get()]
        end = time.monotonic() + self.settings.batch_wait_ms / 1000
        while len(batch) < self.settings.batch_size:
            try:
                batch.append(self.queue.get_nowait())
            except asyncio.QueueEmpty:
                left = end - time.monotonic()
                if left <= 0:
                    break
                await asyncio.sleep(min(left, 0.001))
        return batch


def _row(outputs: Outputs, i: int) -> Outputs:
    one, strangeness = slice(i, i + 1), outputs.strangeness
    return Outputs(
        outputs.probabilities[one], outputs.logits[one], outputs.features[one],
        None if strangeness is None else strangeness[one],
    )  # fmt: skip
