"""The control interface: the truth, the clock, faults, quotes and orders from the phone (design 7, "Control").

Plain HTTP with JSON bodies, on 127.0.0.1 alone. What makes no sense is answered 400 with ``{"error": "<one line>"}``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from brokersim.faults import BadFault
from brokersim.faults import parse as parse_faults
from brokersim.half import BadCall, Number, PhoneOrder, decimal, positive_volume, switch_prefix, switches_of
from brokersim.http_server import Exchange, HttpServer
from brokersim.net import HOST, Listener

if TYPE_CHECKING:
    from brokersim.server import Simulator

logger = logging.getLogger(__name__)

T = TypeVar("T")
MAX_ADVANCE_S = 400 * 86_400


class ClockMove(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /clock``: one of the three."""

    set: str | None = None
    advance_s: float | None = None
    pause: bool | None = None


class QuoteChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``POST /quotes``: what is given is changed."""

    vt_symbol: str
    last: Number | None = None
    bid: Number | None = None
    ask: Number | None = None
    bid_size: Number | None = None
    ask_size: Number | None = None


def decode(body: bytes, kind: type[T]) -> T:
    """The body as ``kind``; :class:`BadCall` in one line when it is not."""
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadCall(str(error)) from error


def parse_time(text: str) -> datetime:
    """An ISO 8601 instant with its offset, ``Z`` included; :class:`BadCall` otherwise."""
    try:
        at = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith(("Z", "z")) else text)
    except ValueError as error:
        raise BadCall(f"set: {text!r} is no ISO 8601 time") from error
    if at.tzinfo is None:
        raise BadCall(f"set: {text!r} has no offset: add one, such as +00:00 or Z")
    return at


class Control:
    """The calls, by method and path."""

    def __init__(self, simulator: Simulator, port: int) -> None:
        self._simulator = simulator
        self._listener = Listener(port, "--control-port", HttpServer(self._answer, _error).serve)
        self._calls: dict[tuple[str, str], Callable[[bytes], Awaitable[object]]] = {
            ("GET", "/state"): self._state,
            ("GET", "/wire"): self._wire,
            ("POST", "/faults"): self._add_faults,
            ("DELETE", "/faults"): self._clear_faults,
            ("GET", "/clock"): self._clock,
            ("POST", "/clock"): self._move_clock,
            ("POST", "/orders"): self._order,
            ("POST", "/quotes"): self._quote,
            ("GET", "/switches"): self._switches,
            ("POST", "/switches"): self._switches,
        }

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._listener.port}"

    def bind(self) -> None:
        self._listener.bind()

    async def open(self) -> None:
        await self._listener.open()

    async def stop(self) -> None:
        await self._listener.stop()

    async def _answer(self, exchange: Exchange) -> None:
        status, body = await self._result(exchange.request.method, exchange.request.path, exchange.request.body)
        exchange.reply(status, body)

    async def _result(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        call = self._calls.get((method, path))
        if call is None:
            known = sorted({known_path for _, known_path in self._calls})
            if path in known:
                return 405, _error(f"{path} takes no {method}")
            return 404, _error(f"no call {path}: there is {', '.join(known)}")
        try:
            return 200, _json(await call(body))
        except (BadCall, BadFault) as error:
            return 400, _error(str(error))
        except Exception as error:  # a bug behind one call must not end the simulator
            logger.exception("brokersim: %s %s failed", method, path)
            return 500, _error(f"{method} {path} failed: {error!r}")

    # -- calls -------------------------------------------------------------------------------------------------

    async def _state(self, body: bytes) -> object:
        return self._simulator.state()

    async def _wire(self, body: bytes) -> object:
        return {name: half.wire() for name, half in self._simulator.halves.items()}

    async def _add_faults(self, body: bytes) -> object:
        faults = parse_faults(body)
        for fault in faults:
            self._simulator.half(fault.broker)
        self._simulator.faults.add(faults)
        await self._simulator.strike()
        return {"added": len(faults)}

    async def _clear_faults(self, body: bytes) -> object:
        self._simulator.faults.clear()
        for half in self._simulator.halves.values():
            half.clear_faults()
        await self._simulator.strike()
        return {"cleared": True}

    async def _clock(self, body: bytes) -> object:
        return {"now": self._simulator.clock.now().isoformat()}

    async def _move_clock(self, body: bytes) -> object:
        move = decode(body, ClockMove)
        if sum(one is not None for one in (move.set, move.advance_s, move.pause)) != 1:
            raise BadCall("give one of set, advance_s, pause")
        if move.set is not None:
            await self._simulator.set_clock(parse_time(move.set))
        elif move.advance_s is not None:
            if not 0 <= move.advance_s <= MAX_ADVANCE_S:
                raise BadCall(f"advance_s must be 0 to {MAX_ADVANCE_S}, not {move.advance_s}")
            await self._simulator.advance(move.advance_s)
        elif move.pause is not None:
            self._simulator.clock.paused = move.pause
        return await self._clock(body)

    async def _order(self, body: bytes) -> object:
        order = decode(body, PhoneOrder)
        return {"id": self._simulator.half(order.broker).place(order)}

    async def _quote(self, body: bytes) -> object:
        change = decode(body, QuoteChange)
        if change.vt_symbol not in self._simulator.market.instruments:
            raise BadCall(f"no instrument {change.vt_symbol!r}")
        try:
            quote = self._simulator.market.set_quote(
                change.vt_symbol,
                last=_price(change.last, "last"),
                bid=_price(change.bid, "bid"),
                ask=_price(change.ask, "ask"),
                bid_size=None if change.bid_size is None else positive_volume(change.bid_size),
                ask_size=None if change.ask_size is None else positive_volume(change.ask_size),
            )
        except ValueError as error:
            raise BadCall(f"quote refused: {error}") from error
        return {
            "vt_symbol": quote.vt_symbol,
            "time": quote.time.isoformat(),
            "last": str(quote.last),
            "bid": str(quote.bids[0].price) if quote.bids else None,
            "ask": str(quote.asks[0].price) if quote.asks else None,
        }

    async def _switches(self, body: bytes) -> object:
        changes = decode(body, dict[str, Any]) if body else {}
        for name in changes:
            self._simulator.half(name.partition(".")[0] if "." in name else "vbrokers")
        answer: dict[str, Any] = {}
        for broker, half in self._simulator.halves.items():
            switches = half.change_switches(switches_of(changes, broker))
            answer |= {switch_prefix(broker) + name: value for name, value in switches.items()}
        return answer


def _price(value: Number | None, name: str) -> Decimal | None:
    if value is None:
        return None
    price = decimal(value, name)
    if price <= 0:
        raise BadCall(f"{name} must be above 0, not {value}")
    return price


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")


def _error(text: str) -> bytes:
    return _json({"error": text})
