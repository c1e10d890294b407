"""A busy worker's event loop: pages that arrive at once are worked on one by one, and timers come between them."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from crawlers.frontier.leases import Lease
from crawlers.frontier.plans import Plans
from crawlers.frontier.turns import Turns

LOOK = 0.5


def lease(domain: str, start_at: float, delay: float = 0.1) -> Lease:
    return Lease(b"", b"", 0, domain, start_at, delay, 0, b"")


def test_pages_that_arrive_at_once_have_a_round_each_in_their_order() -> None:
    order: list[str] = []

    async def page(turns: Turns, number: int) -> None:
        await turns.come()
        order.append(f"page {number}")

    async def story() -> None:
        turns, loop = Turns(), asyncio.get_running_loop()

        def tick() -> None:
            order.append("round")
            if order.count("round") < 8:
                loop.call_soon(tick)

        pages = [asyncio.create_task(page(turns, number)) for number in range(4)]
        loop.call_soon(tick)
        await asyncio.gather(*pages)

    asyncio.run(story())
    assert [what for what in order if what != "round"] == [f"page {number}" for number in range(4)]
    assert not any(one != "round" and one[:4] == other[:4] for one, other in pairwise(order))


def test_a_page_alone_waits_for_nothing_and_one_that_is_given_up_takes_no_turn() -> None:
    async def story() -> list[int]:
        turns, came = Turns(), []

        async def page(number: int) -> None:
            await turns.come()
            came.append(number)

        await page(0)
        assert came == [0]
        tasks = [asyncio.create_task(page(number)) for number in range(1, 4)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await page(4)
        return came

    assert asyncio.run(story()) == [0, 1, 3, 4]


def test_a_domain_is_gone_on_with_before_its_last_planned_start() -> None:
    plans = Plans(LOOK)
    for start in (10.0, 10.1, 10.2):
        plans.add(lease("shop.example", start))
    plans.add(lease("free.example", 10.0, delay=0.0))
    assert plans.next() == 10.2 - LOOK / 2
    assert plans.take(9.9) == []
    assert plans.take(10.0) == ["shop.example"]
    assert plans.next() == float("inf"), "once, until there are more leases"


def test_a_domain_is_asked_for_when_its_next_start_is_near_enough_to_be_given() -> None:
    plans = Plans(LOOK)
    plans.add(lease("slow.example", 10.0, delay=0.4))
    assert plans.next() == 10.0 + 0.4 - LOOK
    plans.add(lease("slower.example", 9.0, delay=0.6))
    assert plans.next() == 10.0 + 0.4 - LOOK, "its next start is planned when this one is over"


def test_a_worker_that_is_late_leaves_its_domain_to_others() -> None:
    plans = Plans(LOOK)
    plans.add(lease("shop.example", 10.0))
    assert plans.take(10.0) == []
    assert plans.next() == float("inf")
