"""Market data of the simulated Gateway: pulls, bars, subscriptions and their pushes, the switches."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest

from brokersim.faults import FaultRegistry
from brokersim.half import BadCall
from brokersim.hstong import frames
from brokersim.hstong import push as push_module
from brokersim.hstong.bars import merge
from brokersim.hstong.params import Security
from brokersim.hstong.switches import Switches
from brokersim.model import Bar, Level
from brokersim.switches import BadSwitch
from tests.sim_hstong_client import AAPL, TENCENT, Desk, PushClient, desk, eventually
from vnpy_vbrokers.wire.proto import push_pb2 as pb


@pytest.fixture
def broker() -> Iterator[Desk]:
    with desk() as clients:
        clients.still()
        yield clients


@pytest.fixture(scope="module")
def day() -> Iterator[Desk]:
    """The data clock in the middle of a trading day: 15:30Z."""
    with desk(clock="data", password="123456", switches={"session_s": 10_000_000}) as clients:
        clients.sim.advance(2 * 3600)
        yield clients


def quote(broker: Desk, security: dict[str, Any] = AAPL, **params: Any) -> dict[str, Any]:
    [row] = broker.ok("/hq/BasicQot", security=[security], **params)["basicQot"]
    return dict(row)


def kline(broker: Desk, **changes: Any) -> list[dict[str, Any]]:
    today = broker.sim.clock().strftime("%Y%m%d")
    params = {
        "security": AAPL,
        "startDate": today,
        "direction": 0,
        "exRightFlag": 0,
        "cycType": 2,
        "limit": 5,
    } | changes
    rows: list[dict[str, Any]] = broker.ok("/hq/KL", **params)["kline"]
    return rows


def test_quote_row(broker: Desk) -> None:
    broker.still(last="201", bid="200.9", ask="201.1")
    row = quote(broker, mktTmType=-1)
    assert row["security"] == AAPL
    assert (row["lastPrice"], row["mktTmType"], row["lotSize"], row["priceSpread"]) == (201.0, 1, 1, 0.01)
    assert row["volumeStr"] == str(row["volume"])
    assert datetime.strptime(row["tradeTime"], "%Y%m%d%H%M%S").replace(tzinfo=timezone.utc)
    assert not {"bidPrice", "askPrice", "stockName", "secStatus"} & row.keys()


def test_us_quote_without_segment_is_the_last_close(broker: Desk) -> None:
    live = quote(broker, mktTmType=1)
    without = quote(broker)
    assert without["lastPrice"] == without["lastClosePrice"] == live["lastClosePrice"] != live["lastPrice"]
    assert quote(broker, TENCENT)["lastPrice"] == quote(broker, TENCENT, mktTmType=1)["lastPrice"]
    broker.sim.switches(us_quote_without_segment="live")
    assert quote(broker)["lastPrice"] == live["lastPrice"]


def test_unknown_and_wrong_type_are_left_out(broker: Desk) -> None:
    asked = [AAPL, {"dataType": 20002, "code": "AAPL"}, {"dataType": 20000, "code": "NOPE"}, TENCENT]
    rows = broker.ok("/hq/BasicQot", security=asked, mktTmType=1)["basicQot"]
    assert [row["security"] for row in rows] == [AAPL, TENCENT]
    assert broker.ok("/hq/BasicQot", security=AAPL)["basicQot"]  # a single object counts as a list


def test_book_depth_by_market(broker: Desk) -> None:
    book = broker.ok("/hq/OrderBook", security=AAPL, mktTmType=1)
    assert [(row["level"], row["price"], row["volume"]) for row in book["orderBookAskList"]] == [(1, 200.1, 1000)]
    assert [row["price"] for row in book["orderBookBidList"]] == [199.9]
    assert book["spreadLevel"] == 0.01
    deep = broker.ok("/hq/OrderBook", security=AAPL, depthBookType=2)
    assert len(deep["orderBookAskList"]) > 1
    hong_kong = broker.ok("/hq/OrderBook", security=TENCENT)
    prices = [row["price"] for row in hong_kong["orderBookBidList"]]
    assert len(prices) >= 5
    assert prices == sorted(prices, reverse=True)
    assert hong_kong["orderBookAskList"][0]["price"] > prices[0]


def test_ticks_newest_first(day: Desk) -> None:
    day.ok("/hq/Subscribe", topicId=14, security=[AAPL])
    day.sim.advance(30)
    ticks = day.ok("/hq/Ticker", security=AAPL, limit=5)["ticker"]
    stamps = [row["timestamp"] for row in ticks]
    assert len(ticks) == 5
    assert stamps == sorted(stamps, reverse=True)
    assert all(row.get("side", 0) in (0, 1, 2) and row["price"] > 0 for row in ticks)


def test_broker_queue_is_for_hong_kong(broker: Desk) -> None:
    queue = broker.ok("/hq/Broker", security=TENCENT)
    assert {row.get("type", 0) for row in queue["brokerBidList"]} == {0}
    assert {row["type"] for row in queue["brokerAskList"]} == {1}
    assert broker.ok("/hq/Broker", security=AAPL)["brokerBidList"] == []


def test_option_chain(broker: Desk) -> None:
    expiries = broker.ok("/hq/UsOptionChainExpireDate", securityCode="AAPL")["expireDate"]
    chain = {"securityCode": "AAPL", "expireDate": expiries[0]}
    codes = broker.ok("/hq/UsOptionChainCode", **chain)["optionCode"]
    calls = broker.ok("/hq/UsOptionChainCode", optionType="C", **chain)["optionCode"]
    inside = broker.ok("/hq/UsOptionChainCode", flagInOut=1, **chain)["optionCode"]
    outside = broker.ok("/hq/UsOptionChainCode", flagInOut=2, **chain)["optionCode"]
    assert set(calls) < set(codes)
    assert sorted(inside + outside) == sorted(codes)
    assert quote(broker, {"dataType": 20003, "code": codes[0]}, mktTmType=1)["lastPrice"] > 0
    assert broker.ok("/hq/UsOptionChainExpireDate", securityCode="NOPE") == {"expireDate": []}
    assert "AAPL" in broker.ok("/hq/UsOverNightTradeCodes")["securityCodes"]


# --- bars ---------------------------------------------------------------------------------------------------------


def test_daily_bars_back_and_forward(day: Desk) -> None:
    back = kline(day, limit=4)
    assert len(back) == 4
    assert [row["timestamp"] for row in back] == sorted(row["timestamp"] for row in back)
    assert back[-1]["date"] == day.sim.clock().strftime("%Y-%m-%d")
    assert [row["lastClosePrice"] for row in back[1:]] == [row["closePrice"] for row in back[:-1]]
    forward = kline(day, direction="1", startDate=back[0]["date"].replace("-", ""), limit="3")
    assert forward == back[:3]
    assert all(row["lowPrice"] <= row["closePrice"] <= row["highPrice"] for row in back)


@pytest.mark.parametrize(("cycle", "days"), [(3, 5), (4, 23), (11, 66), (12, 262)])
def test_longer_bars_are_made_of_days(day: Desk, cycle: int, days: int) -> None:
    longer = kline(day, cycType=cycle, limit=2)[-1]
    parts = [row for row in kline(day, limit=days) if row["timestamp"] >= longer["timestamp"]]
    assert longer["volume"] == sum(row["volume"] for row in parts)
    assert longer["highPrice"] == max(row["highPrice"] for row in parts)
    assert (longer["openPrice"], longer["closePrice"]) == (parts[0]["openPrice"], parts[-1]["closePrice"])


def test_minute_limit_counts_days_and_the_stamp_is_the_end(day: Desk) -> None:
    today = kline(day, cycType=5, limit=1)
    assert (today[0]["time"], len(today)) == ("09:31", 120)
    assert 0 <= day.sim.clock().timestamp() * 1000 - today[-1]["timestamp"] < 60_000
    two_days = kline(day, cycType="5", limit="2")
    assert len(two_days) == 390 + 120
    assert len({row["date"] for row in two_days}) == 2
    day.sim.switches(kl_minute_stamp="start")
    assert kline(day, cycType=5, limit=1)[0]["time"] == "09:30"
    day.sim.switches(kl_minute_stamp="end")


def test_bars_stop_at_the_caps(day: Desk) -> None:
    rows = kline(day, cycType=5, limit=6)
    assert len(rows) == 1500
    assert rows[-1] == kline(day, cycType=5, limit=1)[-1]
    oldest = kline(day, cycType=5, limit=6, direction=1, startDate=rows[0]["date"].replace("-", ""))
    assert len(oldest) == 1500
    assert oldest[0]["time"] == "09:31"
    day.sim.switches(kl_over_limit="error")
    asked = {"security": AAPL, "startDate": 20260310, "direction": 0, "exRightFlag": 0, "cycType": 5, "limit": 7}
    assert day.err("/hq/KL", **asked).startswith("1016")
    day.sim.switches(kl_over_limit="truncate")
    assert kline(day, cycType=9, limit=1, startDate=19000101) == []
    assert kline(day, cycType=2, limit=1, startDate=99991231) == kline(day, cycType=2, limit=1)
    assert kline(day, cycType=2, limit=1, startDate=99991231, direction=1) == []
    first = kline(day, cycType=2, limit=2, startDate=19000101, direction=1)
    assert len(first) == 2
    assert first[0]["date"] < "2020"


def test_merged_minutes() -> None:
    start = datetime(2026, 3, 10, 13, 30, tzinfo=timezone.utc)
    bars = [bar(start + timedelta(minutes=n), n + 1, n + 3, n, n + 2) for n in range(7)]
    assert merge(bars, 5) == [
        replace(bar(start, 1, 7, 0, 6), volume=50, turnover=Decimal(500)),
        replace(bar(start + timedelta(minutes=5), 6, 9, 5, 8), volume=20, turnover=Decimal(200)),
    ]


def bar(time: datetime, open_: int, high: int, low: int, close: int) -> Bar:
    return Bar(time, Decimal(open_), Decimal(high), Decimal(low), Decimal(close), volume=10, turnover=Decimal(100))


def test_time_share_adds_up(day: Desk) -> None:
    rows = day.ok("/hq/TimeShare", security=AAPL)["timeShare"]
    bars = kline(day, cycType=5, limit=1)
    assert [row["price"] for row in rows] == [bar["closePrice"] for bar in bars]
    assert rows[0]["time"] == "09:30"
    assert min(bar["lowPrice"] for bar in bars) <= rows[-1]["avgPrice"] <= max(bar["highPrice"] for bar in bars)


def test_segments_with_the_data_clock() -> None:
    with desk(clock="data") as clients:
        today = clients.sim.clock().date()
        for clock, segment in (("12:00", -1), ("15:00", 1), ("21:00", -2)):
            clients.sim.set_clock(f"{today}T{clock}:00Z")
            assert quote(clients, mktTmType=1)["mktTmType"] == segment


@pytest.mark.parametrize(
    ("moment", "segment"),
    [
        ("2026-03-10T23:59:59Z", -2),
        ("2026-03-11T00:00:00Z", -3),
        ("2026-03-11T07:59:59Z", -3),
        ("2026-03-11T08:00:00Z", -1),
        ("2026-03-14T02:00:00Z", 1),  # Friday evening
        ("2026-03-16T02:00:00Z", -3),  # Sunday evening
        ("2026-04-03T02:00:00Z", 1),  # before Good Friday
    ],
)
def test_the_us_night_with_the_data_clock(moment: str, segment: int) -> None:
    with desk(clock="data") as clients:
        clients.sim.set_clock(moment)
        assert quote(clients, mktTmType=-3)["mktTmType"] == segment


# --- subscriptions ------------------------------------------------------------------------------------------------


def test_subscription_is_answered_with_a_snapshot_and_then_follows(broker: Desk) -> None:
    assert broker.ok("/hq/Subscribe", topicId=11, security=[AAPL]) == {"success": True}
    first = broker.push.next()
    assert isinstance(first, pb.BasicQotNotify)
    assert first.basicQot.lastPrice == 200.0
    broker.sim.quote("AAPL.SMART", last="201", ask="201.1")
    second = broker.push.next().basicQot
    assert second.lastPrice == 201.0
    assert second.mktTmType == 1
    carried = {field.name for field, _ in second.ListFields()}
    assert carried <= {
        *("security", "openPrice", "highPrice", "lowPrice", "lastPrice", "lastClosePrice"),
        *("volume", "turnover", "amplitude", "tradeTime", "mktTmType"),
    }
    assert broker.push.serials == [1, 2]
    broker.ok("/hq/Unsubscribe", topicId=11, security=[AAPL, TENCENT])
    broker.sim.quote("AAPL.SMART", last="202", ask="202.1")
    assert broker.push.is_silent()


def test_book_is_pushed_side_by_side_when_it_changes(broker: Desk) -> None:
    broker.ok("/hq/Subscribe", topicId=17, security=[AAPL])
    sides = [broker.push.next(), broker.push.next()]
    assert [side.side for side in sides] == [0, 1]
    assert [side.orderBookList[0].price for side in sides] == [199.9, 200.1]
    broker.sim.quote("AAPL.SMART", ask="200.3")
    assert broker.push.next().side == 0
    assert broker.push.next().orderBookList[0].price == 200.3


def test_depth_queue_and_ticks_are_topics_of_their_own(day: Desk) -> None:
    day.ok("/hq/Unsubscribe", topicId=14, security=[AAPL])
    push = PushClient(day.sim.push_address or "")
    day.ok("/hq/Subscribe", topicId=26, security=[AAPL])
    assert len(push.next().orderBookList) > 1
    push.next()
    day.ok("/hq/Unsubscribe", topicId=26, security=[AAPL])
    day.ok("/hq/Subscribe", topicId=16, security=[TENCENT, AAPL])
    assert [push.next().side, push.next().side] == [0, 1]
    day.ok("/hq/Unsubscribe", topicId=16, security=[TENCENT, AAPL])
    day.ok("/hq/Subscribe", topicId=27, security=[AAPL])
    day.ok("/hq/Subscribe", topicId=14, security=[AAPL])
    day.sim.advance(20)
    ticks = [push.next() for _ in range(5)]
    push.close()
    assert all(isinstance(tick, pb.TickerNotify) and tick.ticker.mktTmType == 1 for tick in ticks)
    stamps = [tick.ticker.timestamp for tick in ticks]
    assert stamps == sorted(stamps)


def test_two_hundred_securities(broker: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("brokersim.hstong.feed.MAX_SECURITIES", 2)
    broker.ok("/hq/Subscribe", topicId=11, security=[AAPL, TENCENT])
    broker.ok("/hq/Subscribe", topicId=17, security=[AAPL, TENCENT])
    third = {"dataType": 20000, "code": "IBM"}
    assert broker.err("/hq/Subscribe", topicId=11, security=[third]) == "1016 订阅数量超过上限"
    broker.ok("/hq/Unsubscribe", topicId=11, security=[AAPL])
    assert broker.err("/hq/Subscribe", topicId=11, security=[third]) == "1016 订阅数量超过上限"
    broker.ok("/hq/Unsubscribe", topicId=17, security=[AAPL])
    broker.ok("/hq/Subscribe", topicId=11, security=[third])


def test_pushes_go_to_all_clients(broker: Desk) -> None:
    other = PushClient(broker.sim.push_address or "")
    broker.ok("/hq/Subscribe", topicId=11, security=[AAPL])
    assert broker.push.next() == other.next()
    other.socket.sendall(b"anything")  # what a client sends is not looked at
    broker.entrust()
    assert broker.push.orders(1) == other.orders(1)
    other.close()


def test_slow_client_is_dropped_and_the_others_go_on() -> None:
    security = Security(20000, "AAPL")
    levels = tuple(Level(Decimal(100 - n), 100) for n in range(10))
    book = frames.book_notify(security, frames.BID, levels, 1)
    count = 3 * push_module.MAX_QUEUED // len(frames.frame(1, 1, book))

    async def play() -> None:
        now = datetime.now(timezone.utc)
        server = push_module.PushServer(0, FaultRegistry(lambda: now), lambda: now)
        server.listener.bind()
        await server.listener.open()
        port = server.listener.port
        _, slow_writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        size = len(frames.frame(1, 1, book))

        async def read_all() -> int:
            received = 0
            while (
                received < count * size - 8 * count
            ):  # serial and time are fixed width; the body varies by a byte or two
                received += len(await reader.read(1_000_000))
            return received

        reading = asyncio.ensure_future(read_all())
        for _ in range(20):  # turns enough for both to be accepted
            await asyncio.sleep(0)
        for number in range(count):
            server.publish(book)
            if number % 200 == 0:
                await asyncio.sleep(0)
        assert await asyncio.wait_for(reading, 20) > 0
        assert len(server._clients) == 1
        for one in (slow_writer, writer):
            one.transport.abort()
        await server.stop()

    asyncio.run(play())


def test_logout_ends_subscriptions(broker: Desk) -> None:
    broker.ok("/hq/Subscribe", topicId=11, security=[AAPL])
    broker.push.next()
    broker.ok("/trade/TradeLogout")
    broker.sim.quote("AAPL.SMART", last="205", ask="205.1")
    assert broker.push.is_silent()


# --- switches -----------------------------------------------------------------------------------------------------


def test_switch_login_reply() -> None:
    with desk(login=False, switches={"login_reply": "data", "hq_needs_login": "on"}) as clients:
        assert clients.err("/hq/BasicQot", security=[AAPL]) == "1012 用户未登录"
        assert clients.ok("/trade/TradeLogin", password="W1U8iZIppSE+mBMtzy9vZQ==") == {"data": "ok"}
        assert clients.ok("/hq/BasicQot", security=[AAPL])["basicQot"]


def test_switch_pull_needs_subscription(broker: Desk) -> None:
    broker.sim.switches(pull_needs_subscription=True)
    assert broker.ok("/hq/BasicQot", security=[AAPL]) == {"basicQot": []}
    broker.ok("/hq/Subscribe", topicId=11, security=[AAPL])
    assert broker.ok("/hq/BasicQot", security=[AAPL])["basicQot"]


def test_switches_of_shapes(broker: Desk) -> None:
    order_id = broker.entrust(entrustPrice="0", entrustType="5")
    broker.sim.switches(
        holds_without_market="all", list_without_paging="default", max_asset_shape="flat", ticker_key="tickerList",
        order_date="yyyyMMdd", omit_zeros="off", us_suffix=True, trade_time="yyyy-MM-dd HH:mm:ss",
        trade_time_zone="Asia/Hong_Kong",
    )  # fmt: skip
    assert [row["stockCode"] for row in broker.ok("/trade/TradeQueryHoldsList")["holdsList"]] == ["AAPL.US"]
    [row] = broker.ok("/trade/TradeQueryRealEntrustList", exchangeType="P")["data"]
    assert (row["entrustId"], row["canBeCanceled"]) == (order_id, 0)
    assert len(row["date"]) == 8
    asset = {"exchangeType": "P", "stockCode": "AAPL", "entrustPrice": "1", "entrustType": "3"}
    assert broker.ok("/trade/TradeQueryMaxAvailableAsset", **asset)["position"] == "10"
    assert broker.ok("/hq/Ticker", security=AAPL, limit=1)["tickerList"][0]["type"] == 0
    told = datetime.strptime(quote(broker, mktTmType=1)["tradeTime"] + "+0800", "%Y-%m-%d %H:%M:%S%z")
    assert abs(told - broker.sim.clock()) < timedelta(hours=1)


@pytest.mark.parametrize(("style", "err"), [("code", "1009"), ("text", "接口不存在"), ("code_text", "1009 接口不存在")])
def test_switch_err_style(broker: Desk, style: str, err: str) -> None:
    broker.sim.switches(err_style=style)
    assert broker.err("/nothing") == err


def test_switch_record_no(broker: Desk) -> None:
    broker.sim.switches(record_no="different")
    order_id = broker.entrust()
    [push] = broker.push.orders(1)
    assert push.recordNo == order_id != push.entrustNo


def test_wrong_switches_change_nothing() -> None:
    switches = Switches()
    with pytest.raises(BadSwitch, match="unknown switch 'nope'"):
        switches.change({"err_style": "code", "nope": 1})
    with pytest.raises(BadSwitch, match="err_style"):
        switches.change({"omit_zeros": "off", "err_style": "loud"})
    assert switches == Switches()
    with pytest.raises(BadCall), desk(switches={"session_s": 0}):
        pass


def test_quotes_move_by_themselves_with_the_wall_clock() -> None:
    with desk(speed=50) as clients:
        clients.ok("/hq/Subscribe", topicId=11, security=[AAPL])
        volumes: list[int] = []

        def moved() -> bool:
            volumes.append(clients.push.next().basicQot.volume)
            return len(set(volumes)) > 3

        eventually(moved, "the quote stands still")
        assert volumes == sorted(volumes)
