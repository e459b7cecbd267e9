"""Depth of the book for the few instruments that were shown last (reference "tws-api", sections 6.3 and 10)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.i18n import _

from .board import DEPTH
from .contracts import Key
from .errors import is_notice, words_for
from .streams import DepthStream, LineStream
from .wire.tws import Wire

MOST_DEPTHS = 3
"""What every account has; TWS says 309 where its own windows take a part."""
NO_DEPTH = frozenset({"IND", "CFD", "FUND", "BAG"})
"""Security types without a book."""

TOO_MANY = 309
HALTED, RESET = 316, 317


class Depths:
    """The depth requests of one gateway. Without depth there is level one: at most one line about each reason."""

    def __init__(
        self, wire: Callable[[], Wire], touch: Callable[[LineStream], None], log: Callable[[str], None]
    ) -> None:
        self._wire = wire
        self._touch = touch
        self._log = log
        self._open: dict[Key, DepthStream] = {}
        self._refused: set[Key] = set()
        self._said: set[int] = set()
        self._limit = MOST_DEPTHS

    def arrange(self, lines: Iterable[LineStream]) -> None:
        """Move the depth to those of the lines that were asked for last. Raises :class:`ConnectionFailed`."""
        wanted = [line for line in lines if self._may_have(line)]
        wanted.sort(key=lambda line: line.asked, reverse=True)
        chosen = {line.key: line for line in wanted[: self._limit]}
        for key in [key for key in self._open if key not in chosen]:
            self.close(key)
        for key, line in chosen.items():
            if key not in self._open:
                self._request(line)

    def close(self, key: Key) -> None:
        """Close one, if it is open."""
        depth = self._open.pop(key, None)
        if depth is None:
            return
        wire, req_id, smart = depth.wire, depth.req_id, depth.smart
        depth.line.board.clear_depth()
        wire.forget(req_id)
        if wire.connected:
            wire.post(lambda: wire.client.cancelMktDepth(req_id, smart), "cancelMktDepth")

    def close_all(self) -> None:
        """Close all: the subscriptions are made anew."""
        self._limit = MOST_DEPTHS
        self._refused.clear()
        for key in list(self._open):
            self.close(key)

    def _may_have(self, line: LineStream) -> bool:
        has_book = line.board.instrument.contract.secType not in NO_DEPTH
        return line.alive and line.board.shown and has_book and line.key not in self._refused

    def _request(self, line: LineStream) -> None:
        wire = self._wire()
        contract = line.board.instrument.contract
        depth = DepthStream(self, line, contract.exchange == "SMART", wire.next_id(), wire)
        self._open[line.key] = depth
        wire.listen(depth.req_id, depth)
        wire.post(lambda: wire.client.reqMktDepth(depth.req_id, contract, DEPTH, depth.smart, []), contract.symbol)

    # ------------------------------------------------------------------ what the streams say

    def on_rows(self, depth: DepthStream) -> None:
        """Rows have changed."""
        self._touch(depth.line)

    def on_error(self, depth: DepthStream, code: int, text: str) -> None:
        """A code under a depth request's id."""
        if code == HALTED:
            self._again(depth)
        elif code != RESET and is_notice(code):
            return  # which venues are not among it: not worth a line
        elif code != RESET:
            self._lose(depth, code, text)
        depth.line.board.clear_depth()
        self._touch(depth.line)

    def _lose(self, depth: DepthStream, code: int, text: str) -> None:
        self._open.pop(depth.line.key, None)
        depth.wire.forget(depth.req_id)
        if code == TOO_MANY:
            self._limit = len(self._open)
        else:
            self._refused.add(depth.line.key)
        if code not in self._said and not depth.line.board.delayed:  # of delayed data the line tells
            self._said.add(code)
            self._log(_("{}只有一档行情：{}").format(depth.line.board.instrument.vt_symbol, words_for(code, text)))

    def _again(self, depth: DepthStream) -> None:
        try:
            self.close(depth.line.key)
            self._request(depth.line)
        except BrokerError:
            self._open.pop(depth.line.key, None)  # the next connection opens it
