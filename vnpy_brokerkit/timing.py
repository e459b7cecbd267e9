"""Every interval and time-out of a gateway in one object, so that tests can make them short together."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Timing:
    """Seconds, all of them. The defaults are the product's; the reasons stand in the design's sections 3 to 5."""

    request_timeout: float = 10
    """The broker's own wait for one request; our socket waits ``answer_margin`` longer."""
    answer_margin: float = 2
    connect_timeout: float = 3
    reconnect: float = 2
    """A refused connection is tried again after this, for ever."""
    repeat_line: float = 60
    """The same trouble is said again after this, not before."""
    retry_backoff: tuple[float, ...] = (0.5, 1.0, 2.0)
    """Waits between the tries of one read; its length is the number of tries."""
    backoff_first: float = 60
    """First wait of the growing delays (login and permission failures, a session displaced again)."""
    backoff_most: float = 1800
    push_wait: float = 1
    """How long a connecting gateway waits for the push channel before it goes on without."""
    return_grace: float = 0.02
    """Nothing is pushed about an order before its send_order has surely returned to its caller."""
    order_max_age: float = 5
    """An order that could not leave within this is refused: a price that old is not the trader's any more."""
    settle_after: float = 12
    """An order with unknown outcome is not judged before this: the broker may still be working on it."""
    settle_apart: float = 1
    """Two complete reads at least this far apart must agree before absence means refused."""
    orders_poll: float = 10
    """Reading the order lists while orders are active and the push channel is up."""
    orders_poll_alone: float = 2
    """The same while the push channel is down or an outcome is unknown."""
    orders_poll_idle: float = 60
    funds_poll: float = 5
    """Positions and funds while something is held or working."""
    funds_poll_idle: float = 60
    after_change: float = 0.3
    """Positions and funds are read again this long after a fill or a change of order."""
    quotes_poll: float = 3
    """Batched quotes while there is no push."""
    quotes_check: float = 15
    """Batched quotes as the check on the push: asked for what has been silent this long."""
    push_patience: float = 600
    """A push channel that seems stuck is made anew at most this often: it may simply have nothing to say."""
    subscribe_gather: float = 0.02
    """Subscriptions that come together go out together."""
    book_wait: float = 1
    """How long to wait for the first pushed book before one is asked for."""
    position_interval: float = 0.5
    """At most one position event per symbol in this time because of a quote; the last one always comes."""
    close_answers: float = 3
    """How long close() waits for the answers to cancels."""
    close_most: float = 5
    heartbeat: float = 8
    """A connection that brought nothing for this long is asked whether it still lives."""
    heartbeat_answer: float = 5
    held_line: float = 10
    """An order that got no answer for this long is probably held for a person's Transmit: one line says so."""
    code_grace: float = 0.5
    """How long a status may follow an error code before the code alone decides."""
    history_most: float = 60
    """How long a query_history may keep its caller without progress; with progress, as long as it takes."""
    commission_wait: float = 0.25
    """How long a fill waits for its commission before it is told without."""
