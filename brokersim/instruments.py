"""The table of instruments that the simulated brokers know without any data file, and the lots of those that come as
files.

Facts: lots by vbrokers-openapi 16.3 (US 1, A shares 100, Hong Kong by stock), symbols as in design 6.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from brokersim.model import Instrument, Kind

NEW_YORK = "America/New_York"
CHICAGO = "America/Chicago"
HONG_KONG = "Asia/Hong_Kong"
SHANGHAI = "Asia/Shanghai"

MARKETS: dict[str, tuple[str, str]] = {
    "SMART": ("USD", NEW_YORK),
    "SEHK": ("HKD", HONG_KONG),
    "SSE": ("CNY", SHANGHAI),
    "SZSE": ("CNY", SHANGHAI),
    "IDEALPRO": ("USD", NEW_YORK),
    "CME": ("USD", CHICAGO),
    "HKFE": ("HKD", HONG_KONG),
}
"""vn.py exchange -> currency, zone."""

DEFAULT_LOTS: dict[str, int] = {"SEHK": 100, "SSE": 100, "SZSE": 100}
"""Lots of stocks that the table does not know; any other exchange 1."""


@dataclass(frozen=True)
class Listing:
    """An instrument and what the generator needs to make its market: the price it stands near and a usual day's
    volume."""

    instrument: Instrument
    price: Decimal
    day_volume: int
    volatility: float = 0.018
    """Standard deviation of a day's return."""


def _listing(
    vt_symbol: str,
    name: str,
    name_en: str,
    price: str,
    day_volume: int,
    *,
    kind: Kind = "stock",
    lot: int | None = None,
    size: int = 1,
    volatility: float = 0.018,
) -> Listing:
    symbol, exchange = vt_symbol.rsplit(".", 1)
    currency, zone = MARKETS[exchange]
    lot = DEFAULT_LOTS.get(exchange, 1) if lot is None else lot
    instrument = Instrument(symbol, exchange, name, name_en, kind, currency, zone, lot, Decimal(size))
    return Listing(instrument, Decimal(price), day_volume, volatility)


LISTINGS: tuple[Listing, ...] = (
    _listing("AAPL.SMART", "苹果", "Apple Inc", "228.50", 48_000_000),
    _listing("IBM.SMART", "IBM", "International Business Machines", "248.20", 4_200_000),
    _listing("AIG.SMART", "美国国际集团", "American International Group", "79.40", 4_600_000),
    _listing("MSFT.SMART", "微软", "Microsoft Corp", "430.10", 20_000_000),
    _listing("NVDA.SMART", "英伟达", "NVIDIA Corp", "142.60", 190_000_000, volatility=0.028),
    _listing("TSLA.SMART", "特斯拉", "Tesla Inc", "338.70", 82_000_000, volatility=0.034),
    _listing("BRK-B.SMART", "伯克希尔-B", "Berkshire Hathaway Class B", "478.30", 3_900_000, volatility=0.01),
    _listing("SPY.SMART", "标普500ETF", "SPDR S&P 500 ETF Trust", "595.40", 46_000_000, kind="etf", volatility=0.009),
    _listing("QQQ.SMART", "纳指100ETF", "Invesco QQQ Trust", "508.90", 32_000_000, kind="etf", volatility=0.012),
    _listing("00700.SEHK", "腾讯控股", "TENCENT", "412.40", 21_000_000, lot=100),
    _listing("09988.SEHK", "阿里巴巴-W", "BABA-W", "86.30", 72_000_000, lot=100, volatility=0.026),
    _listing("00005.SEHK", "汇丰控股", "HSBC HOLDINGS", "72.40", 19_000_000, lot=400, volatility=0.011),
    _listing("00177.SEHK", "江苏宁沪高速公路", "JIANGSU EXPRESS", "10.40", 3_600_000, lot=2000, volatility=0.009),
    _listing("00001.SEHK", "长和", "CKH HOLDINGS", "41.55", 5_200_000, lot=500, volatility=0.012),
    _listing("00388.SEHK", "香港交易所", "HKEX", "304.20", 6_300_000, lot=100),
    _listing("02800.SEHK", "盈富基金", "TRACKER FUND", "20.140", 290_000_000, kind="etf", lot=500, volatility=0.011),
    _listing("600519.SSE", "贵州茅台", "KWEICHOW MOUTAI", "1528.00", 2_800_000, volatility=0.014),
    _listing("000001.SZSE", "平安银行", "PING AN BANK", "11.46", 130_000_000, volatility=0.013),
    _listing("510300.SSE", "沪深300ETF", "Huatai-PB CSI 300 ETF", "4.012", 900_000_000, kind="etf", volatility=0.01),
    _listing(
        "EUR-USD-CASH.IDEALPRO",
        "欧元美元",
        "European Monetary Union Euro",
        "1.08515",
        900_000_000,
        kind="forex",
        volatility=0.004,
    ),
    _listing(
        "ES-202612-USD-FUT.CME",
        "标普500期货",
        "E-mini S&P 500",
        "5960.25",
        1_400_000,
        kind="future",
        size=50,
        volatility=0.009,
    ),
    _listing(
        "HSI-202612-HKD-FUT.HKFE",
        "恒生指数期货",
        "Hang Seng Index",
        "20115",
        110_000,
        kind="future",
        size=50,
        volatility=0.012,
    ),
    _listing(
        "AAPL-20261218-C-230-100-USD-OPT.SMART",
        "苹果 261218 230 购",
        "AAPL 18DEC26 230 C",
        "9.85",
        14_000,
        kind="option",
        size=100,
        volatility=0.08,
    ),
    _listing(
        "AAPL-20261218-P-220-100-USD-OPT.SMART",
        "苹果 261218 220 沽",
        "AAPL 18DEC26 220 P",
        "7.40",
        11_000,
        kind="option",
        size=100,
        volatility=0.08,
    ),
    _listing(
        "AAPL-20261218-C-152_5-100-USD-OPT.SMART",
        "苹果 261218 152.5 购",
        "AAPL 18DEC26 152.5 C",
        "77.35",
        600,
        kind="option",
        size=100,
        volatility=0.05,
    ),
)


def table() -> dict[str, Listing]:
    """The built-in listings by vt_symbol."""
    return {listing.instrument.vt_symbol: listing for listing in LISTINGS}


def instrument_of_file(vt_symbol: str) -> Instrument:
    """The instrument of a data file that the table does not know: a stock named by its symbol.

    Raises ValueError for a name without a known exchange.
    """
    symbol, dot, exchange = vt_symbol.rpartition(".")
    if not dot or not symbol or exchange not in MARKETS:
        raise ValueError(f"{vt_symbol!r} is no vt_symbol of a known exchange ({', '.join(MARKETS)})")
    currency, zone = MARKETS[exchange]
    return Instrument(symbol, exchange, symbol, symbol, "stock", currency, zone, DEFAULT_LOTS.get(exchange, 1))
