"""Where the reference is not sure what the real Gateway does: one switch each, the default being what it says first.

Source: vbrokers-openapi 17 ("Switches for uncertain facts") and 20.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

import msgspec

from brokersim.switches import SwitchBoard


@dataclasses.dataclass
class Switches(SwitchBoard):
    """The uncertain behaviours of the Gateway; each field's first value is the default."""

    login_reply: Literal["success", "data"] = "success"
    """What TradeLogin answers: ``{"success":true}`` or ``{"data":"ok"}`` (2.4, 3.1)."""
    hq_needs_login: bool = False
    """Market data before the trading login answers 1012 (3.3)."""
    pull_needs_subscription: bool = False
    """Pulling a quote, book, bar or tick of a security that no topic subscribes gives an empty list (6)."""
    holds_without_market: Literal["2001", "all"] = "2001"
    """TradeQueryHoldsList without exchangeType: an error, or the holdings of all markets (7.8)."""
    list_without_paging: Literal["2001", "default"] = "2001"
    """Order and deal lists without queryCount or queryParamStr, and without entrustId: an error, or 20 rows (7.6)."""
    max_asset_shape: Literal["nested", "flat"] = "nested"
    """TradeQueryMaxAvailableAsset: its fields in ``data.data`` or in ``data`` (2.4)."""
    ticker_key: Literal["ticker", "tickerList"] = "ticker"
    """The list's name in the answer of Ticker (6.5)."""
    trade_time: Literal["yyyyMMddHHmmss", "yyyy-MM-dd HH:mm:ss"] = "yyyyMMddHHmmss"
    """The format of tradeTime and marketTime (6.1)."""
    trade_time_zone: Literal["exchange", "Asia/Hong_Kong"] = "exchange"
    """The zone of tradeTime and marketTime."""
    order_date: Literal["yyyy-MM-dd", "yyyy/MM/dd", "yyyyMMdd"] = "yyyy-MM-dd"
    """The format of OrderVo.date (7.6)."""
    kl_minute_stamp: Literal["end", "start"] = "end"
    """Whether a minute bar is stamped with its end or its start (6.3)."""
    kl_extended_hours: bool = False
    """Minute bars of US securities also before and after the regular session (6.3 does not say)."""
    kl_over_limit: Literal["truncate", "error"] = "truncate"
    """KL asked for more days or bars than the caps: cut to the cap, or 1016 (6.3)."""
    us_quote_without_segment: Literal["last_close", "live"] = "last_close"
    """BasicQot of a US security without mktTmType: the last close, or live (4.3)."""
    err_style: Literal["code_text", "code", "text"] = "code_text"
    """The form of ``err``: ``1012 用户未登录``, ``1012`` or ``用户未登录`` (2.2)."""
    record_no: Literal["equal", "different"] = "equal"
    """In pushes, entrustNo equals the id of the HTTP answer, or only recordNo does (13.4)."""
    omit_zeros: bool = True
    """Leave zero-valued integers out of the JSON answers (2.3)."""
    us_suffix: bool = False
    """Holdings of US securities are called ``AAPL.US`` (7.8)."""
    push_before_reply: bool = False
    """The pushes of a trading request go out before its HTTP answer (7.1)."""
    day_rolls_at: Literal["Asia/Hong_Kong", "America/New_York"] = "Asia/Hong_Kong"
    """Whose midnight moves US orders from the Real lists to the History lists; other markets follow Hong Kong."""
    session_s: Annotated[float, msgspec.Meta(gt=0)] = 10_800
    """Seconds of the simulator's clock after the last call that a login lasts (3.3)."""
