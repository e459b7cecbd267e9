"""The connect dialog of IBKR: its keys, their defaults, and what they mean (design, section 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vnpy_brokerkit.errors import InvalidRequest
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.settings import NO_YES, CommonSettings, Reader, common_setting

ENVIRONMENTS = ("内置模拟", "模拟盘", "实盘")
ENVIRONMENT2WORD = {"内置模拟": "embedded", "模拟盘": "paper", "实盘": "live"}
EMBEDDED, PAPER, LIVE = ENVIRONMENTS

ENVIRONMENT2PORTS: Mapping[str, tuple[int, ...]] = {PAPER: (7497, 4002), LIVE: (7496, 4001)}
"""What TWS and IB Gateway listen on unless told otherwise (tws-api 1)."""
PAPER_SIGN = "D"
"""Accounts of the paper world begin with it, live ones never (tws-api 1)."""

ACCOUNT_KINDS = ("普通", "现金", "IRA")
LIVE_DATA, DELAYED_DATA = 1, 3
MARKET_DATA = ("实时，无权限时延迟", "实时", "延迟")
MARKET_DATA2TYPE: Mapping[str, int] = dict(zip(MARKET_DATA, (DELAYED_DATA, LIVE_DATA, DELAYED_DATA), strict=True))
"""What is asked of TWS (tws-api 4.3): 3 gives live data where there is a right to it, and delayed data elsewhere."""
DELAYED_ORDERS = ("禁止", "允许")
TIME_IN_FORCE2TIF: Mapping[str, str] = {"当日": "DAY", "撤单前有效": "GTC"}

MAX_CLIENT_ID = 2**31 - 1


def default_setting() -> dict[str, Any]:
    """Return the keys in the dialog's order; a list is a drop-down whose first item is the default."""
    return {
        "环境": list(ENVIRONMENTS),
        "TWS地址": "127.0.0.1",
        "TWS端口": 7497,
        "客户号": 1,
        "交易账户": "",
        "账户类型": list(ACCOUNT_KINDS),
        "行情类型": list(MARKET_DATA),
        "延迟行情下单": list(DELAYED_ORDERS),
        "盘前盘后": list(NO_YES),
        "有效期": list(TIME_IN_FORCE2TIF),
        **common_setting(),
    }


@dataclass(frozen=True)
class Settings(CommonSettings):
    """The values of one connect(), checked. ``account`` is one of the broker's ids, or blank."""

    environment: str
    host: str
    port: int
    """0: look for the ports that fit the environment."""
    client_id: int
    account: str
    account_kind: str
    data_type: int
    """TWS's market data type: 1 live, 3 delayed where there is no live."""
    delayed_orders_allowed: bool
    tif: str
    unknown_keys: tuple[str, ...] = ()

    @property
    def embedded(self) -> bool:
        return self.environment == EMBEDDED

    @property
    def journal_word(self) -> str:
        """The environment's word in the name of the order journal."""
        return ENVIRONMENT2WORD[self.environment]

    @property
    def world(self) -> str:
        """What separates one broker's truth from another's: orders never travel between worlds."""
        return f"{self.environment}|{self.host}:{self.port}|{self.account}"


def read_settings(setting: Mapping[str, Any]) -> Settings:
    """Check a connect dialog's values. Raises :class:`InvalidRequest`, one clear line."""
    defaults = default_setting()
    read = Reader(setting, defaults)
    return Settings(
        **vars(read.common()),
        environment=read.choice("环境", ENVIRONMENTS),
        host=read.host("TWS地址"),
        port=_whole(read, "TWS端口", 65535),
        client_id=_whole(read, "客户号", MAX_CLIENT_ID),
        account=read.text("交易账户"),
        account_kind=read.choice("账户类型", ACCOUNT_KINDS),
        data_type=MARKET_DATA2TYPE[read.choice("行情类型", MARKET_DATA)],
        delayed_orders_allowed=read.choice("延迟行情下单", DELAYED_ORDERS) == "允许",
        tif=TIME_IN_FORCE2TIF[read.choice("有效期", tuple(TIME_IN_FORCE2TIF))],
        unknown_keys=tuple(read.unknown()),
    )


def _whole(read: Reader, key: str, most: int) -> int:
    """Return a whole number from 0. VN Trader sends 0 for an empty field."""
    text = read.text(key)
    if not (text.isascii() and text.isdigit()) or int(text) > most:
        raise InvalidRequest(_("“{}”的值“{}”不是0到{}的整数，未连接；请修改").format(key, text, most))
    return int(text)


def candidate_ports(settings: Settings) -> tuple[int, ...]:
    """Return the ports to try, in order: the one that was given, else those of the environment."""
    if settings.port or settings.embedded:
        return (settings.port,)
    return ENVIRONMENT2PORTS[settings.environment]


def interlock(settings: Settings, accounts: Sequence[str], port: int | None = None) -> str:
    """Return why this connection must stay read-only, or ``""``: a live account in a paper setting or the reverse.

    ``accounts`` are the broker's own ids; ``port`` the one that is connected, ``settings.port`` by default. A port
    proves nothing by itself, but one of the four known ones that contradicts the setting is a mistake of somebody.
    """
    live = settings.environment == LIVE
    wrong = [account for account in accounts if account.startswith(PAPER_SIGN) == live]
    if wrong:
        reason = (
            _("环境为“{}”，而账户{}是模拟账户：只读连接，不发委托；请核对“环境”与TWS的登录")
            if live
            else _("环境为“{}”，而账户{}是实盘账户：只读连接，不发委托；请核对“环境”与TWS的登录")
        )
        return reason.format(settings.environment, _("、").join(wrong))
    used = settings.port if port is None else port
    for environment, ports in ENVIRONMENT2PORTS.items():
        if used in ports and environment != settings.environment and not settings.embedded:
            return _("环境为“{}”，而端口{}是{}的默认端口：只读连接，不发委托；请核对“环境”与“TWS端口”").format(
                settings.environment, used, environment
            )
    return ""
