"""Tasks end when they are to, also where their libraries forget it."""

from __future__ import annotations

import asyncio

import pytest

from crawlers import tasks


def test_a_task_ends_that_forgets_its_first_cancellation(monkeypatch: pytest.MonkeyPatch) -> None:
    """As asyncio.wait_for makes it do before Python 3.12."""
    monkeypatch.setattr(tasks, "_AGAIN", 0.01)

    async def go_round(forgets: asyncio.Event) -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                if forgets.is_set():
                    raise
                forgets.set()

    async def story() -> bool:
        task = asyncio.create_task(go_round(asyncio.Event()))
        await asyncio.sleep(0)
        await tasks.end(task)
        return task.cancelled()

    assert asyncio.run(asyncio.wait_for(story(), 30))


def test_what_asyncio_forgets_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer and the cancellation come in one turn of the loop."""
    monkeypatch.setattr(tasks, "_AGAIN", 0.01)

    async def story() -> int:
        answers: list[asyncio.Future[None]] = []

        async def go_round() -> None:
            while True:
                answers.append(asyncio.get_running_loop().create_future())
                await asyncio.wait_for(answers[-1], 60)

        task = asyncio.create_task(go_round())
        await asyncio.sleep(0)
        answers[-1].set_result(None)
        await tasks.end(task)
        return len(answers)

    assert asyncio.run(asyncio.wait_for(story(), 30)) in (1, 2), "2 where the first cancellation is forgotten"


def test_what_has_ended_by_itself_stays_so() -> None:
    async def fail() -> None:
        raise ValueError

    async def story() -> None:
        done = asyncio.ensure_future(fail())
        await asyncio.wait([done])
        await tasks.end(done)
        assert isinstance(done.exception(), ValueError)

    asyncio.run(story())
