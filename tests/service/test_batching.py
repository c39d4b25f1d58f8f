"""The queue in front of the model: batches, fullness, errors."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from sonobalance.config import ServiceSettings
from sonobalance.deployment.predictor import Outputs
from sonobalance.service.batching import Batcher
from sonobalance.service.gate import Turned
from sonobalance.service.metrics import Metrics


class Model:
    """Answers with the mean of each image; waits for a signal first."""

    def __init__(self) -> None:
        self.go, self.sizes = threading.Event(), []

    def __call__(self, squares):
        self.go.wait(10)
        self.sizes.append(len(squares))
        means = squares.reshape(len(squares), -1).mean(1, keepdims=True)
        return Outputs(means, means.astype(np.float32), means.astype(np.float32))


def batcher(model, **settings):
    return Batcher(model, ServiceSettings(**settings), Metrics())


def image(value):
    return np.full((4, 4), value, np.uint8)


def test_images_that_wait_go_together_and_each_gets_its_own_answer():
    model = Model()

    async def main():
        made = batcher(model, batch_size=4)
        made.start()
        jobs = [asyncio.create_task(made.outputs(image(i))) for i in range(9)]
        await asyncio.sleep(0.05)
        model.go.set()
        found = await asyncio.gather(*jobs)
        await made.stop()
        return [float(o.probabilities[0, 0]) for o in found]

    assert asyncio.run(main()) == list(range(9))
    assert max(model.sizes) == 4
    assert sum(model.sizes) == 9
    assert len(model.sizes) <= 4


def test_a_full_queue_is_said_with_a_time_and_does_not_grow():
    model = Model()

    async def main():
        made = batcher(model, batch_size=1, queue_size=3)
        made.seconds_per_image = 2.0
        made.start()
        jobs = [asyncio.create_task(made.outputs(image(0)))]
        await asyncio.sleep(0.05)
        jobs += [asyncio.create_task(made.outputs(image(i))) for i in range(3)]
        await asyncio.sleep(0.05)
        with pytest.raises(Turned) as turned:
            await made.outputs(image(9))
        model.go.set()
        await asyncio.gather(*jobs)
        await made.stop()
        return turned.value

    turned = asyncio.run(main())
    assert turned.status == 503
    assert turned.headers == {"Retry-After": "6"}


def test_an_error_reaches_those_who_wait_and_the_next_are_served():
    def fails_on_zero(squares):
        if (squares == 0).any():
            raise ValueError("zero")
        return Outputs(squares[:, 0].astype(float), squares[:, 0], squares[:, 0])

    async def main():
        made = batcher(fails_on_zero, batch_size=1)
        made.start()
        with pytest.raises(ValueError, match="zero"):
            await made.outputs(image(0))
        found = await made.outputs(image(5))
        assert made.alive
        await made.stop()
        return found.probabilities[0, 0]

    assert asyncio.run(main()) == 5


def test_other_work_is_bounded_too():
    model = Model()

    async def main():
        made = batcher(model, queue_size=4)
        jobs = [asyncio.create_task(made.alone(lambda: model.go.wait(10))) for _ in range(2)]
        await asyncio.sleep(0.05)
        with pytest.raises(Turned, match="busy"):
            await made.alone(lambda: None)
        model.go.set()
        await asyncio.gather(*jobs)
        assert await made.alone(lambda: 7) == 7
        await made.stop()

    asyncio.run(main())
