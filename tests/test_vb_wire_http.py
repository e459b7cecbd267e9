"""HTTP requests: every ending of a read and of a mutation, over real loopback sockets where bytes matter."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import socket
import traceback
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from decimal import Decimal
from typing import Any, TypeVar

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnpy_brokerkit.errors import (
    BrokerError,
    ConnectionFailed,
    InvalidRequest,
    LoginFailed,
    PermissionDenied,
    ProtocolError,
    Rejected,
    TimedOut,
    UnknownOutcome,
)
from vnpy_vbrokers.errors import LOGIN_ROUTE
from vnpy_vbrokers.wire.http import MUTATIONS, HttpWire

ORDER = "/trade/TradeEntrust"
FUNDS = "/trade/TradeQueryMarginFundInfo"
OK = b'{"ok":true,"err":"","data":{"data":"1002451"}}'
T = TypeVar("T")


def run(scenario: Coroutine[Any, Any, T]) -> T:
    """Run one scenario; the deadline only keeps a broken one from hanging the suite."""
    return asyncio.run(asyncio.wait_for(scenario, 20))


def answer(body: bytes, *, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body


class Peer:
    """A loopback server that reads whole requests, remembers them, and leaves the answer to a script."""

    def __init__(self, script: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
        self.script = script
        self.heads: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.connections = 0
        self.arrived = asyncio.Event()
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                self.bodies.append(json.loads(await reader.readexactly(length)))
                self.heads.append(head)
                self.arrived.set()
                await self.script(writer)
                await writer.drain()
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    async def is_left(self) -> bool:
        """Tell whether no client is connected any more, or still is after a second."""
        for _turn in range(5):  # a connection that the system has accepted is seen some turns later
            await asyncio.sleep(0)
        pending = {task for task in self._tasks if not task.done()}
        return not pending or not (await asyncio.wait(pending, timeout=1))[1]

    async def end(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@contextlib.asynccontextmanager
async def gateway(
    script: Callable[[asyncio.StreamWriter], Awaitable[None]], **options: Any
) -> AsyncIterator[tuple[HttpWire, Peer]]:
    peer = Peer(script)
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    peer.port = server.sockets[0].getsockname()[1]
    wire = HttpWire("127.0.0.1", peer.port, **options)
    try:
        yield wire, peer
    finally:
        await wire.close()
        server.close()
        await peer.end()
        await server.wait_closed()


def says(reply: bytes) -> Callable[[asyncio.StreamWriter], Awaitable[None]]:
    async def script(writer: asyncio.StreamWriter) -> None:
        writer.write(reply)

    return script


async def hang_up(writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def stay_silent(_writer: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


async def half_an_answer(writer: asyncio.StreamWriter) -> None:
    writer.write(answer(OK)[:-5])
    writer.close()


async def drip(writer: asyncio.StreamWriter) -> None:
    """Endless and slow: each byte comes soon enough for a read time-out."""
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    never = asyncio.Event()
    while not writer.is_closing():
        writer.write(b" ")
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(never.wait(), 0.01)


async def failure(call: Awaitable[Any]) -> BrokerError:
    with pytest.raises(BrokerError) as caught:
        await call
    return caught.value


def mocked(reply: Callable[[httpx.Request], httpx.Response]) -> HttpWire:
    return HttpWire("127.0.0.1", 11111, transport=httpx.MockTransport(reply))


async def both(wire: HttpWire) -> tuple[BrokerError, BrokerError]:
    """The same trouble, seen by a read and by a mutation."""
    try:
        return await failure(wire.read(FUNDS, {})), await failure(wire.mutate(ORDER, {}))
    finally:
        await wire.close()


def replying(content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> HttpWire:
    return mocked(lambda _request: httpx.Response(status, content=content, headers=headers))


def test_a_request_is_what_the_reference_says() -> None:
    async def scenario() -> None:
        async with gateway(says(answer(OK))) as (wire, peer):
            price = Decimal("180.00")
            assert await wire.mutate(ORDER, {"entrustPrice": price, "stockCode": "AAPL"}) == {"data": "1002451"}
            await wire.read(FUNDS, {}, timeout_sec=2.5)
            assert peer.bodies == [
                {"timeout_sec": 10, "params": {"entrustPrice": "180.00", "stockCode": "AAPL"}},
                {"timeout_sec": 3, "params": {}},
            ]
            assert peer.heads[0].startswith("post /trade/tradeentrust http/1.1")
            assert "content-type: application/json" in peer.heads[0]
            assert "accept-encoding: identity" in peer.heads[0]

    run(scenario())


def test_reads_share_a_connection_and_mutations_never_do() -> None:
    async def scenario() -> None:
        async with gateway(says(answer(OK))) as (wire, peer):
            for _ in range(3):
                await wire.read(FUNDS, {})
            assert peer.connections == 1
            for _ in range(3):
                await wire.mutate(ORDER, {})
            assert peer.connections == 4
            assert ["connection: close" in head for head in peer.heads] == [False] * 3 + [True] * 3

    run(scenario())


@pytest.mark.parametrize("route", sorted(MUTATIONS))
def test_an_order_cannot_be_sent_as_a_read(route: str) -> None:
    async def scenario() -> None:
        async with gateway(says(answer(OK))) as (wire, peer):
            with pytest.raises(ValueError):
                await wire.read(route, {})
            assert peer.connections == 0

    run(scenario())


@pytest.mark.parametrize("port", [0, -1, 65536])
def test_a_port_that_is_none(port: int) -> None:
    with pytest.raises(ValueError):
        HttpWire("127.0.0.1", port)


def test_nobody_listens() -> None:
    async def scenario() -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))  # bound and not listening: refused for certain
            port = taken.getsockname()[1]
            for error in await both(HttpWire("127.0.0.1", port)):
                assert type(error) is ConnectionFailed
                assert f"127.0.0.1:{port}" in str(error)

    run(scenario())


@pytest.mark.parametrize("host", ["", "bad host", "a/b"])
def test_a_host_that_is_none_sends_nothing(host: str) -> None:
    for error in run(both(HttpWire(host, 11111))):
        assert type(error) is ConnectionFailed


@pytest.mark.parametrize("kind", [httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ConnectError])
def test_what_fails_before_sending_is_certain(kind: type[httpx.TransportError]) -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise kind("x")

    for error in run(both(mocked(fail))):
        assert type(error) is ConnectionFailed


@pytest.mark.parametrize("script", [hang_up, reset, half_an_answer])
def test_a_connection_that_breaks_after_sending(script: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with gateway(script) as (wire, peer):
            assert type(await failure(wire.mutate(ORDER, {"stockCode": "AAPL"}))) is UnknownOutcome
            assert len(peer.bodies) == 1
            assert type(await failure(wire.read(FUNDS, {}))) is ConnectionFailed
            assert len(peer.bodies) == 2

    run(scenario())


@pytest.mark.parametrize("script", [stay_silent, drip])
def test_no_whole_answer_in_time(script: Callable[[asyncio.StreamWriter], Awaitable[None]]) -> None:
    async def scenario() -> None:
        async with gateway(script, timeout_sec=0.1, answer_margin=0.1) as (wire, peer):
            assert type(await failure(wire.mutate(ORDER, {}))) is TimedOut
            assert type(await failure(wire.read(FUNDS, {}))) is TimedOut
            assert len(peer.bodies) == 2

    run(scenario())


def test_a_fault_that_nobody_foresaw_leaves_an_order_unknown() -> None:
    def fail(_request: httpx.Request) -> httpx.Response:
        raise RuntimeError("bug")

    async def scenario() -> None:
        wire = mocked(fail)
        assert type(await failure(wire.mutate(ORDER, {}))) is UnknownOutcome
        with pytest.raises(RuntimeError):
            await wire.read(FUNDS, {})
        await wire.close()

    run(scenario())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<html>busy</html>",
        b'{"ok":true,"data":',
        b"[]",
        b"null",
        b"{}",
        b'{"ok":"true"}',
        b'{"ok":1}',
        b'{"ok":null,"err":"1012"}',
        b'{"ok":true,"data":NaN}',
        b'{"ok":true,"data":"\xff"}',
        b'{"ok":true,"data":' + b"[" * 200_000,
        b'{"ok":true,"data":' + b"9" * 5000 + b"}",
        OK + b"trailing",
    ],
    ids=lambda content: repr(content[:24]),
)
def test_an_answer_that_is_no_envelope(content: bytes) -> None:
    asked, ordered = run(both(replying(content)))
    assert type(asked) is ProtocolError
    assert type(ordered) is UnknownOutcome


@pytest.mark.parametrize("status", [201, 204, 301, 302, 404, 405, 500, 503])
def test_the_http_status_counts_before_the_body(status: int) -> None:
    refusal = b'{"ok":false,"err":"1009","data":{}}'
    wire = replying(refusal, status, {"location": "http://127.0.0.1:1/elsewhere"})
    asked, ordered = run(both(wire))
    if status < 300:
        assert type(asked) is type(ordered) is InvalidRequest
    else:
        assert type(asked) is ProtocolError
        assert type(ordered) is UnknownOutcome
        assert f"HTTP {status}" in str(asked)


def test_a_huge_answer_is_cut_off() -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            sent += 0x10000
            await writer.drain()

    async def scenario() -> None:
        async with gateway(flood, max_body=1_000_000) as (wire, _peer):
            assert type(await failure(wire.read(FUNDS, {}))) is ProtocolError
            assert type(await failure(wire.mutate(ORDER, {}))) is UnknownOutcome

    run(scenario())
    assert sent < 50_000_000


def test_a_compressed_answer_is_not_unpacked() -> None:
    bomb = zlib.compress(bytes(10_000_000))
    asked, ordered = run(both(replying(bomb, headers={"content-encoding": "deflate"})))
    assert type(asked) is ProtocolError
    assert type(ordered) is UnknownOutcome


def test_data_of_every_kind_is_handed_over() -> None:
    async def scenario(content: bytes) -> Any:
        wire = replying(content)
        try:
            return await wire.read(FUNDS, {})
        finally:
            await wire.close()

    assert run(scenario(b'{"ok":true,"err":""}')) is None
    assert run(scenario(b'{"ok":true,"err":null,"data":null,"more":1}')) is None
    assert run(scenario(b'{"ok":true,"data":["x"]}')) == ["x"]
    prices = run(scenario(b'{"ok":true,"data":[201.10,1e999999,123456789012345678901234567890]}'))
    assert str(prices[0]) == "201.10"
    assert prices[2] == 123456789012345678901234567890
    long = run(scenario(b'{"ok":true,"data":0.' + b"1" * 10_000 + b"}"))
    assert isinstance(long, str)  # left to the row that holds it


@pytest.mark.parametrize(
    ("err", "kind", "code"),
    [
        (b'"1012"', LoginFailed, "1012"),
        (b'"1012 \xe7\x94\xa8\xe6\x88\xb7\xe6\x9c\xaa\xe7\x99\xbb\xe5\xbd\x95"', LoginFailed, "1012"),
        (b"1006", PermissionDenied, "1006"),
        (b'{"message":"1016 bad"}', InvalidRequest, "1016"),
        (b'{"code":3002,"message":"no money"}', Rejected, "3002"),
        (b'{"error":"no shares"}', Rejected, ""),
        (b'"no shares"', Rejected, ""),
    ],
)
def test_a_refusal_in_every_shape(err: bytes, kind: type[BrokerError], code: str) -> None:
    for error in run(both(replying(b'{"ok":false,"err":' + err + b',"data":{}}'))):
        assert (type(error), error.code) == (kind, code)


@pytest.mark.parametrize("err", [b'""', b"null", b"[]", b"{}", b'"1011"', b'"1015"', b'"1008 no"', b'"9999"'])
def test_a_failure_that_is_no_clear_refusal_leaves_an_order_unknown(err: bytes) -> None:
    _asked, ordered = run(both(replying(b'{"ok":false,"err":' + err + b"}")))
    assert type(ordered) is UnknownOutcome


def test_a_cancelled_request_ends_and_leaves_the_wire_usable() -> None:
    async def scenario() -> None:
        async with gateway(stay_silent) as (wire, peer):
            for call in (wire.mutate(ORDER, {}), wire.read(FUNDS, {})):
                peer.arrived.clear()
                task = asyncio.create_task(call)
                await peer.arrived.wait()
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            peer.script = says(answer(OK))
            assert await wire.read(FUNDS, {}) == {"data": "1002451"}

    run(scenario())


def test_close_ends_what_is_under_way_and_refuses_the_rest() -> None:
    async def scenario() -> None:
        async with gateway(stay_silent) as (wire, peer):
            order = asyncio.create_task(wire.mutate(ORDER, {}))
            await peer.arrived.wait()
            await wire.close()
            assert type(await failure(order)) is UnknownOutcome
            assert type(await failure(wire.mutate(ORDER, {}))) is ConnectionFailed
            assert type(await failure(wire.read(FUNDS, {}))) is ConnectionFailed
            assert len(peer.bodies) == 1
            await wire.close()

    run(scenario())


def test_close_leaves_no_connection_whenever_it_comes() -> None:
    """A request that is just connecting belongs to a pool that has no socket of it to close yet."""

    async def scenario() -> None:
        for turns in range(40):
            async with gateway(says(answer(OK))) as (wire, peer):
                read = asyncio.create_task(wire.read(FUNDS, {}))
                for _turn in range(turns):
                    await asyncio.sleep(0)
                await wire.close()
                with contextlib.suppress(ConnectionFailed):
                    await read
                assert await peer.is_left(), f"closed {turns} turns after the request began"

    run(scenario())


def test_no_proxy_of_the_environment_gets_between(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def scenario() -> None:
        async with gateway(says(answer(OK))) as (wire, _peer):
            assert await wire.read(FUNDS, {})

    run(scenario())


@pytest.mark.parametrize(
    "script",
    [
        says(answer(b'{"ok":false,"err":"1016 bad password W1U8iZIppSE+mBMtzy9vZQ==","data":{}}')),
        says(answer(b'{"ok":false,"err":"1008 wrong"}')),
        says(answer(b'{"ok":true,"data":{"success":true}}')),
        says(answer(b"W1U8iZIppSE+mBMtzy9vZQ== is not JSON")),
        says(b"W1U8iZIppSE+mBMtzy9vZQ== is not HTTP\r\n\r\n"),
        says(answer(b"", status="302 Found", headers="Location: /?p=W1U8iZIppSE+mBMtzy9vZQ==\r\n")),
        hang_up,
        stay_silent,
    ],
    ids=["echo", "refused", "ok", "garbage", "no http", "redirect", "hang up", "silent"],
)
def test_the_cipher_text_stays_in_the_request(
    script: Callable[[asyncio.StreamWriter], Awaitable[None]], caplog: pytest.LogCaptureFixture
) -> None:
    secret = "W1U8iZIppSE+mBMtzy9vZQ=="
    caplog.set_level(logging.DEBUG)
    seen = ""

    async def scenario() -> None:
        nonlocal seen
        async with gateway(script, timeout_sec=0.2, answer_margin=0.1) as (wire, peer):
            result = (await asyncio.gather(wire.read(LOGIN_ROUTE, {"password": secret}), return_exceptions=True))[0]
            if isinstance(result, BaseException):
                assert isinstance(result, BrokerError)
                assert result.__context__ is None
                assert result.__cause__ is None
                seen = repr(result) + str(result) + repr(vars(result))
                seen += "".join(traceback.format_exception(result))
            assert peer.bodies[0]["params"] == {"password": secret}
            seen += repr(wire)

    run(scenario())
    logged = [record.getMessage() + repr(record.args) for record in caplog.records if record.name != "asyncio"]
    # httpcore's DEBUG lines show a reply's header lines: a foreign reply that repeats the secret there is its own.
    ours = [line for line in logged if "receive_response_headers" not in line]
    assert secret not in seen
    assert not [line for line in ours if secret in line]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200))
def test_any_body_ends_in_data_or_in_our_errors(content: bytes) -> None:
    async def scenario() -> None:
        wire = replying(content)
        with contextlib.suppress(BrokerError):
            await wire.mutate(ORDER, {})
        await wire.close()

    run(scenario())
