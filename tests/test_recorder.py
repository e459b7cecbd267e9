"""A recorder beside two gateways that both know the symbol: only the owner's ticks reach it, each volume once."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from datetime import timedelta
from pathlib import Path

import pytest
from vnpy.event import Event, EventEngine
from vnpy.trader.event import EVENT_CONTRACT, EVENT_TICK
from vnpy.trader.object import BarData, TickData
from vnpy.trader.utility import TEMP_DIR, BarGenerator

import brokersim
from tests.harness import Rig
from tests.ib_harness import IbRig
from tests.ticks_desk import AIG, QUIET, TENCENT, TickDesk, at, minutes, replaying_files, wrong
from vnpy_brokerkit.clock import ShiftedClock

MINUTE = timedelta(minutes=1)
ROUTES = TEMP_DIR / "broker_routes.json"
OPENS = at("2013-10-10 13:30")


class BarRecorder:
    """As vn.py's: a BarGenerator for each symbol, on copies of the engine's ticks."""

    def __init__(self, event_engine: EventEngine) -> None:
        self.bars: defaultdict[str, list[BarData]] = defaultdict(list)
        self._generators: dict[str, BarGenerator] = {}
        event_engine.register(EVENT_TICK, self._take)

    def _take(self, event: Event) -> None:
        tick: TickData = event.data
        generator = self._generators.setdefault(tick.vt_symbol, BarGenerator(self._record))
        generator.update_tick(copy(tick))

    def _record(self, bar: BarData) -> None:
        self.bars[bar.vt_symbol].append(bar)


class Both:
    """One engine with both gateways, VBROKERS first, in the data's time."""

    def __init__(self, rig: Rig, tws: IbRig, it: TickDesk, recorder: BarRecorder) -> None:
        self.rig, self.tws, self.it, self.recorder = rig, tws, it, recorder

    def connect(self, name: str) -> None:
        rig = self.rig if name == "VBROKERS" else self.tws
        before = self.ready()
        self.rig.main.connect(rig.setting(), name)
        self.rig.wait(lambda: self.ready() > before, f"{name} ready")

    def ready(self) -> int:
        return len([line for line in self.rig.seen.log_lines() if "合约信息查询成功" in line])

    def subscribe(self, vt_symbol: str) -> None:
        """Both are asked for it, as by a person and by a recorder."""
        self.rig.subscribe(vt_symbol)
        self.tws.subscribe(vt_symbol)
        self.rig.wait_tick(vt_symbol)

    def open_day(self, vt_symbol: str = AIG) -> None:
        """The same, in the last minute before the open, which is played."""
        self.subscribe(vt_symbol)
        early = sum(row.volume for row in minutes(AIG, at("2013-10-10 08:00"), OPENS - MINUTE))
        self.it.play(vt_symbol, minutes(AIG, OPENS - MINUTE, OPENS), volume=early)

    def restart(self, broker: str) -> None:
        before = len([line for line in self.rig.seen.log_lines() if "已恢复" in line])
        self.rig.sim.faults([{"broker": broker, "do": "restart", "for_s": 0.3}])
        self.rig.wait(lambda: [line for line in self.rig.seen.log_lines() if "已恢复" in line][before:], "the return")


@contextmanager
def both(
    folder: Path, start: str, monkeypatch: pytest.MonkeyPatch, vt_symbol: str = AIG, **routes: str
) -> Iterator[Both]:
    ROUTES.write_text(json.dumps(routes), "utf-8")
    replaying_files(folder, vt_symbol, monkeypatch)
    with brokersim.running(vbrokers=True, tws=True, data=folder, clock="data", process=True) as sim:
        clock = ShiftedClock(at(start), frozen=True)
        sim.set_clock(at(start))
        rig = Rig(start=False, gateway_clock=clock, timing=QUIET["VBROKERS"])
        tws = IbRig(start=False, gateway_clock=clock, timing=QUIET["IBKR"])
        rig.sim = tws.sim = sim
        with rig:
            tws.main, tws.seen = rig.main, rig.seen
            tws.add("IBKR")
            made = Both(rig, tws, TickDesk(rig, clock), BarRecorder(rig.event_engine))
            made.connect("VBROKERS")
            made.connect("IBKR")
            yield made
    ROUTES.unlink(missing_ok=True)


@pytest.mark.parametrize(("routes", "owner"), [({}, "VBROKERS"), ({"*.SMART": "IBKR"}, "IBKR")])
def test_volume_per_minute_equals_the_file(
    routes: dict[str, str], owner: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = minutes(AIG, OPENS, OPENS + 20 * MINUTE)
    with both(tmp_path, "2013-10-10 13:29", monkeypatch, **routes) as it:
        it.open_day()
        day = it.it.play(AIG, rows[:8])
        it.restart("vbrokers")
        day = it.it.play(AIG, rows[8:14], volume=day)
        it.restart("tws")
        it.it.play(AIG, rows[14:], volume=day)
        ticks = it.it.ticks(AIG)
        it.rig.wait(lambda: len(it.recorder.bars[AIG]) >= len(rows), "the recorder")
        assert {tick.gateway_name for tick in ticks} == {owner}
        contracts = {one.gateway_name for one in it.rig.seen.of(EVENT_CONTRACT) if one.vt_symbol == AIG}
        assert contracts == {owner}
        assert wrong(it.recorder.bars[AIG], rows[:-1]) == []


def test_hong_kong_volume_per_minute_equals_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = minutes(TENCENT, at("2022-04-12 03:55"), at("2022-04-12 05:05"))
    earlier = minutes(TENCENT, at("2022-04-12 01:29"), rows[0].start)
    with both(tmp_path, "2022-04-12 03:54", monkeypatch, TENCENT, **{"*.SEHK": "IBKR"}) as it:
        it.subscribe(TENCENT)
        day = it.it.play(TENCENT, earlier[-1:], volume=sum(row.volume for row in earlier[:-1]))
        it.it.play(TENCENT, rows, volume=day)
        it.rig.wait(lambda: len(it.recorder.bars[TENCENT]) >= len(rows), "the recorder")
        assert wrong(it.recorder.bars[TENCENT], rows[:-1]) == []
        assert len(it.recorder.bars[TENCENT]) <= len(rows) + 1, "a bar of the lunch break"


def test_only_a_person_and_a_new_start_change_the_owner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file is edited and both gateways are connected again: nothing moves. The next start reads it."""
    rows = minutes(AIG, OPENS, OPENS + 6 * MINUTE)
    with both(tmp_path, "2013-10-10 13:29", monkeypatch) as it:
        it.open_day()
        day = it.it.play(AIG, rows[:3])
        ROUTES.write_text(json.dumps({"*.SMART": "IBKR"}), "utf-8")
        for name in ("VBROKERS", "IBKR"):
            it.connect(name)
        it.it.play(AIG, rows[3:], volume=day)
        it.rig.wait(lambda: len(it.recorder.bars[AIG]) >= len(rows), "the recorder")
        assert {tick.gateway_name for tick in it.it.ticks(AIG)} == {"VBROKERS"}
        assert wrong(it.recorder.bars[AIG], rows[:-1]) == []
    with both(tmp_path, "2013-10-10 13:36", monkeypatch, **{"*.SMART": "IBKR"}) as it:
        it.subscribe(AIG)
        it.it.play(AIG, minutes(AIG, OPENS + 6 * MINUTE, OPENS + 9 * MINUTE), volume=sum(row.volume for row in rows))
        assert {tick.gateway_name for tick in it.it.ticks(AIG)} == {"IBKR"}
        expected = minutes(AIG, OPENS + 7 * MINUTE, OPENS + 8 * MINUTE)
        assert wrong(it.recorder.bars[AIG], expected) == [], "the first tick's volume is no minute's"


def test_a_spelling_of_the_settings_has_one_owner_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = TEMP_DIR / "data_recorder_setting.json"
    alias = "AIG-USD-STK.SMART"
    recorder.write_text(json.dumps({"tick": {}, "bar": {alias: {}}}), "utf-8")
    rows = minutes(AIG, OPENS, OPENS + 5 * MINUTE)
    try:
        with both(tmp_path, "2013-10-10 13:29", monkeypatch) as it:
            it.open_day(alias)
            it.it.play(alias, rows)
            it.rig.wait(lambda: len(it.recorder.bars[alias]) >= len(rows), "the recorder")
            assert {tick.gateway_name for tick in it.it.ticks(alias)} == {"VBROKERS"}
            assert it.rig.contract(alias).gateway_name == it.rig.contract(AIG).gateway_name == "VBROKERS"
            assert wrong(it.recorder.bars[alias], rows[:-1]) == []
    finally:
        recorder.unlink()
