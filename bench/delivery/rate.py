"""Part `rate`: products to Kafka as fast as they are acknowledged."""

from __future__ import annotations

from bench.delivery.bench import Bench
from bench.delivery.services import own_topics
from bench.delivery.sides import ONCE, OURS, RAW, SENDING, SIDES, USUAL
from bench.delivery.worker import Measured, measure
from bench.frontier.table import Budget, Row, beside, in_turns

_SLOW = 50
"""The usual way delivers one of so many records: it has its rate all the same, and a run its end."""
_QUICK = 5
"""Those that encode nothing deliver so many times as many: in half a second librdkafka would but fill its queue."""
_HALF = Budget(least=0.5)


def rate(bench: Bench) -> list[Row]:
    """Records per second and CPU per record of each side; they take turns."""
    found: dict[str, list[Measured]] = {side: [] for side in SIDES}
    for number in range(bench.rounds):
        env, schema_id = own_topics(bench.env)
        for side in in_turns(list(SIDES), number):
            records = bench.records // _SLOW if side == USUAL else bench.records
            records *= _QUICK if side in (SENDING, RAW) else 1
            found[side].append(measure(side, records, env, schema_id))
            one = found[side][-1]
            bench.say(f"rate, round {number + 1}  {side:<20}{one.rate:9,.0f} records/s{one.cpu:9.1f} µs of CPU each")
    return [
        _rate(found, "records/s, encoded record to acknowledgement", SENDING, RAW, _HALF),
        _cpu(found, SENDING, RAW),
        _rate(found, "records/s, product to acknowledged record", OURS, RAW),
        _cpu(found, OURS, RAW),
        _rate(found, "records/s, product to committed record, exactly once", ONCE, RAW),
        _cpu(found, ONCE, RAW),
        _rate(found, "records/s, product to acknowledged record", OURS, USUAL),
        _cpu(found, OURS, USUAL),
    ]


def _rate(found: dict[str, list[Measured]], what: str, ours: str, other: str, budget: Budget | None = None) -> Row:
    rates = {side: [one.rate for one in found[side]] for side in (ours, other)}
    return beside(what, rates[ours], other, rates[other], "/s", budget, 0)


def _cpu(found: dict[str, list[Measured]], ours: str, other: str) -> Row:
    used = {side: [one.cpu for one in found[side]] for side in (ours, other)}
    return beside("  CPU per record", used[ours], other, used[other], "µs")
