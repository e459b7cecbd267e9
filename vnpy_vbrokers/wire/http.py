"""Requests to the OpenAPI Gateway over HTTP (vbrokers-openapi 2 and 12.2): one request, one answer, no retries.

What went wrong decides who may try again, and that differs by kind of request:

- a read may be asked again by its caller, so it fails with the error that fits best;
- a mutation (an order, a cancel, a change) leaves this module exactly once. ConnectionFailed then says that it
  certainly did not leave, a refusal that the broker certainly did not carry it out, and every other ending,
  UnknownOutcome and TimedOut, that it may have been.

Mutations use connections of their own that are never kept open: a pooled connection that the Gateway closed meanwhile
would turn a request that never arrived into an unknown outcome. An error carries the route and the broker's words,
never parameters or bodies, and is raised outside ``except`` blocks, so that httpx's errors (which hold the request,
and with it the password's cipher text) do not hang on it as context.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import httpx
import msgspec

from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, ProtocolError, TimedOut, UnknownOutcome
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.waiting import within
from vnpy_vbrokers.errors import error_for
from vnpy_vbrokers.wire.values import MAX_DIGITS

MAX_BODY = 8 * 1024 * 1024
"""Bytes of the largest reply that is read (vbrokers-openapi 2.2)."""

MUTATIONS = frozenset(
    {
        "/trade/TradeEntrust",
        "/trade/TradeCancelEntrust",
        "/trade/TradeBatchCancelEntrust",
        "/trade/TradeChangeEntrust",
    }
)
"""Routes that change something at the broker (vbrokers-openapi 5): read() does not take them."""

SECRET_PARAMS = ("password",)
"""Parameters whose value is cut out of whatever the Gateway says about them."""

_HEADERS = {"content-type": "application/json", "accept-encoding": "identity"}


class _Envelope(msgspec.Struct):
    """Every reply (2.2). ``err`` is a text; objects and bare numbers have been seen too."""

    ok: bool
    err: Any = ""
    data: Any = None


def _json_number(text: str) -> Decimal | str:
    """Keep a JSON number as it was written; one of absurd length stays text, for its own row to fail on."""
    return Decimal(text) if len(text) <= MAX_DIGITS else text


_ENVELOPE = msgspec.json.Decoder(_Envelope, float_hook=_json_number)


_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.InvalidURL,
    httpx.UnsupportedProtocol,
)
"""What httpx raises before the first byte of a request."""


class _OddReply(Exception):
    """Raised inside this module when an answer came that is none of the Gateway's."""


class HttpWire:
    """The Gateway's HTTP side. Its methods belong to one event loop; a cancelled mutation is an unknown one.

    Seconds: ``timeout_sec`` is the Gateway's own wait, ours is ``answer_margin`` longer and counts from the request's
    first byte to the answer's last. ``max_body`` in bytes. ``transport`` is the seam for tests. Raises ValueError for a
    port that is none.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        timeout_sec: float = 10,
        connect_timeout: float = 3,
        answer_margin: float = 2,
        max_body: int = MAX_BODY,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        if not 0 < port < 65536:
            raise ValueError(f"no TCP port: {port}")
        self._host = host
        self._port = port
        self._timeout_sec = timeout_sec
        self._connect_timeout = connect_timeout
        self._answer_margin = answer_margin
        self._max_body = max_body
        self._closed = False
        self._transport = transport
        self._under_way: set[asyncio.Task[Any]] = set()
        self._reading: set[asyncio.Task[Any]] = set()
        self._reads = self._read_client()
        self._mutations = _client(transport, httpx.Limits(max_connections=None, max_keepalive_connections=0))

    def __repr__(self) -> str:
        return f"HttpWire({self._host!r}, {self._port})"

    async def read(self, route: str, params: Mapping[str, Any], *, timeout_sec: float | None = None) -> Any:
        """Ask for something that changes nothing at the broker; login and subscriptions count as such.

        Answers the reply's ``data``: JSON as Python objects, fractions as Decimal. Raises ConnectionFailed (also when
        the connection broke on the way), TimedOut, ProtocolError, or what the broker's code stands for.
        """
        if route in MUTATIONS:
            raise ValueError(f"{route} changes orders: use mutate()")
        return await self._call(self._reads, route, params, timeout_sec, mutation=False)

    async def mutate(self, route: str, params: Mapping[str, Any]) -> Any:
        """Place, cancel or change: one attempt. Answers the reply's ``data``; whether it names an id, the caller sees.

        Raises ConnectionFailed when nothing was sent; Rejected, InvalidRequest, LoginFailed or PermissionDenied when
        the broker clearly refuses; UnknownOutcome (TimedOut among it) for everything else.
        """
        return await self._call(self._mutations, route, params, None, mutation=True)

    async def renew(self) -> None:
        """Read over new connections: the standing ones may be dead without knowing it. Reads under way are TimedOut.

        Mutations under way are left alone: their connections are their own, and only an answer says what came of them.
        """
        if self._closed:
            return
        old, self._reads = self._reads, self._read_client()
        reading = set(self._reading)
        for task in reading:
            task.cancel()
        if reading:
            await asyncio.wait(reading)
        await old.aclose()

    def _read_client(self) -> httpx.AsyncClient:
        return _client(self._transport, httpx.Limits(max_connections=None, max_keepalive_connections=4))

    async def close(self) -> None:
        """Close all connections; what is under way fails. May be called again."""
        self._closed = True
        # A request that is just connecting would outlive its pool, and leave its socket open in there.
        under_way = set(self._under_way)
        for task in under_way:
            task.cancel()
        if under_way:
            await asyncio.wait(under_way)
        await self._reads.aclose()
        await self._mutations.aclose()

    async def _call(
        self,
        client: httpx.AsyncClient,
        route: str,
        params: Mapping[str, Any],
        timeout_sec: float | None,
        *,
        mutation: bool,
    ) -> Any:
        if self._closed:
            raise ConnectionFailed(_("连接已关闭"), about=route)
        wait = self._timeout_sec if timeout_sec is None else timeout_sec
        content = msgspec.json.encode({"timeout_sec": max(1, math.ceil(wait)), "params": params})
        failure: BrokerError
        try:
            body = await within(wait + self._answer_margin, self._post(client, route, content, wait))
            envelope = _decode(body)
        except _NOT_SENT as exc:
            failure = self._unreachable(route, type(exc).__name__)
        except (asyncio.TimeoutError, httpx.TimeoutException):
            failure = self._broken(route, "closed", mutation) if self._closed else self._late(route, wait, mutation)
        except _OddReply as exc:
            failure = self._odd(route, str(exc), mutation)
        except httpx.HTTPError as exc:
            failure = self._broken(route, type(exc).__name__, mutation)
        except Exception as exc:
            if not mutation:
                raise
            # A fault that nobody foresaw, ours included, does not tell whether the order has left.
            failure = self._broken(route, type(exc).__name__, mutation)
        else:
            if envelope.ok:
                return envelope.data
            failure = error_for(_without_secrets(_err_text(envelope.err), params), about=route, mutation=mutation)
        raise failure

    async def _post(self, client: httpx.AsyncClient, route: str, content: bytes, wait: float) -> bytes:
        """Send one request and read its body, bounded. Raises httpx's errors and _OddReply."""
        if self._closed:
            raise httpx.ConnectError("closed")
        task = asyncio.current_task()
        assert task is not None  # within() made one for it
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        if client is not self._mutations:
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)
        url = httpx.URL(scheme="http", host=self._host, port=self._port, path=route)
        # The deadline over everything is the caller's; these only keep a single step from taking all of it.
        timeout = httpx.Timeout(wait + self._answer_margin, connect=self._connect_timeout, pool=self._connect_timeout)
        async with client.stream("POST", url, content=content, timeout=timeout) as response:
            if not response.is_success:
                raise _OddReply(f"HTTP {response.status_code}")
            if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
                raise _OddReply(_("压缩的应答"))  # we asked for none, and a small one could unpack to anything
            body = bytearray()
            async for chunk in response.aiter_bytes():
                body += chunk
                if len(body) > self._max_body:
                    raise _OddReply(_("应答超过{size}字节").format(size=self._max_body))
        return bytes(body)

    def _unreachable(self, route: str, reason: str) -> BrokerError:
        text = _("连不上OpenAPI Gateway {host}:{port}（{reason}），请确认它已启动且端口一致")
        return ConnectionFailed(text.format(host=self._host, port=self._port, reason=reason), about=route)

    def _late(self, route: str, wait: float, mutation: bool) -> BrokerError:
        text = _("{wait:g}秒内没有应答，结果未知，将向券商核对") if mutation else _("{wait:g}秒内没有应答")
        return TimedOut(text.format(wait=wait + self._answer_margin), about=route)

    def _odd(self, route: str, what: str, mutation: bool) -> BrokerError:
        if mutation:
            return UnknownOutcome(_("应答无法识别（{what}），结果未知，将向券商核对").format(what=what), about=route)
        text = _("应答无法识别（{what}），请确认{host}:{port}是OpenAPI Gateway")
        return ProtocolError(text.format(what=what, host=self._host, port=self._port), about=route)

    def _broken(self, route: str, reason: str, mutation: bool) -> BrokerError:
        if mutation:
            text = _("发送后连接中断（{reason}），结果未知，将向券商核对")
            return UnknownOutcome(text.format(reason=reason), about=route)
        return ConnectionFailed(_("与OpenAPI Gateway的连接中断（{reason}）").format(reason=reason), about=route)


def _client(transport: httpx.AsyncBaseTransport | None, limits: httpx.Limits) -> httpx.AsyncClient:
    headers = dict(_HEADERS)
    if limits.max_keepalive_connections == 0:
        headers["connection"] = "close"
    # verify: the wire is plain HTTP, and loading certificates would take longer than all the rest.
    return httpx.AsyncClient(
        transport=transport or httpx.AsyncHTTPTransport(verify=False, limits=limits, retries=0),
        headers=headers,
        trust_env=False,
        follow_redirects=False,
    )


def _decode(body: bytes) -> _Envelope:
    try:
        return _ENVELOPE.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    raise _OddReply(_("不是约定的JSON"))


def _err_text(err: object) -> str:
    """Bring every seen shape of ``err`` to one text: text, number, object with ``code`` and ``message``."""
    if isinstance(err, dict):
        words = (err.get(key) for key in ("code", "message", "error"))
        return " ".join(str(word) for word in words if isinstance(word, str | int))
    return str(err) if isinstance(err, str | int) else ""


def _without_secrets(text: str, params: Mapping[str, Any]) -> str:
    for name in SECRET_PARAMS:
        secret = params.get(name)
        if isinstance(secret, str) and secret:
            text = text.replace(secret, "***")
    return text
