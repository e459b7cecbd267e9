"""Where the reference is not sure what a real TWS does, or a user may have set it otherwise: one switch each, the
default being what the reference says first.

Source: tws-api 1, 10, 20, 21.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import msgspec

from brokersim.switches import SwitchBoard

Right = Literal["live", "delayed", "none"]
Count = Annotated[int, msgspec.Meta(ge=0, le=100_000)]


@dataclasses.dataclass
class Switches(SwitchBoard):
    """What this TWS is set to and allowed to."""

    read_only: bool = False
    """The setting Read-Only API: orders, and the open and completed order queries, answer 321 (1)."""
    download_open_orders: bool = False
    """The setting "Download open orders on connection" (1)."""
    zone_text: Literal["instrument", "utc", "none"] = "instrument"
    """Times of bars, orders, executions: in the instrument's zone, in UTC, or without a zone as old builds (1, 16)."""
    server_zone: Literal["EST", "Central European Standard Time", "Hongkong"] = "EST"
    """The zone text of the connection time (2.2)."""
    accounts: Annotated[int, msgspec.Meta(ge=1, le=60)] = 3
    """How many accounts this login has: the three of the design, then more of the first one's kind (20.15)."""
    fa: bool = False
    """Is it an advisor's login: a master account, groups, orders for groups (13, 20.15)."""
    master_client_id: Annotated[int, msgspec.Meta(ge=-1, le=2**31 - 1)] = -1
    """The setting "Master API client ID": this client hears of every client's orders; -1 for none (1, 12)."""
    us_market_data: Right = "live"
    """The login's market data right on everything but Hong Kong: live, delayed only, or none at all (9.4)."""
    hk_market_data: Right = "live"
    """The same on Hong Kong (14.2)."""
    hk_smart: bool = False
    """Whether SMART finds Hong Kong shares (21)."""
    hk_lot_in_details: bool = True
    """Whether minSize and sizeIncrement of Hong Kong shares say the board lot (6.2, 21)."""
    message_rate: Count = 50
    """Messages a second before error 100; 0 for no limit (10)."""
    disconnect_after: Count = 3
    """How many seconds in a row over the rate end the connection; 0 for never (10)."""
    market_data_lines: Count = 100
    """Tickers before error 101 (10)."""
    depth_lines: Count = 3
    """Market depths before error 309 (10)."""
    tick_by_tick_lines: Count = 5
    """Tick-by-tick requests before error 10190 (10)."""
    historical_pacing: bool = True
    """Bars of up to 30 seconds are refused with 162 when they are asked for too often (10)."""
    farm_notices: bool = True
    """2104, 2106 and 2158 after the connection (2.2)."""
