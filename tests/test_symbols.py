"""Every spelling of an instrument comes to one vt_symbol."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vnpy.trader.constant import Exchange

from vnpy_brokerkit.symbols import MAX_LENGTH, SymbolError, canonical, canonical_vt
from vnpy_brokerkit.trading_hours import US_STOCK_VENUES

SMART, SEHK, SSE, SZSE = Exchange.SMART, Exchange.SEHK, Exchange.SSE, Exchange.SZSE

SPELLINGS: list[tuple[str, Exchange, str]] = [
    # US stocks
    *(("AAPL", venue, "AAPL.SMART") for venue in sorted(US_STOCK_VENUES, key=lambda venue: venue.name)),
    ("aapl", SMART, "AAPL.SMART"),
    ("  AAPL\t", SMART, "AAPL.SMART"),
    ("ＡＡＰＬ", SMART, "AAPL.SMART"),
    ("ａａｐｌ．ＵＳ", SMART, "AAPL.SMART"),
    ("AAPL.US", SMART, "AAPL.SMART"),
    ("US.AAPL", Exchange.NASDAQ, "AAPL.SMART"),
    ("aapl-usd-stk", SMART, "AAPL.SMART"),
    ("AAPL-USD-STK.SMART", SMART, "AAPL.SMART"),
    ("AAPL.US", SEHK, "AAPL.SMART"),  # the text wins
    # class shares
    ("BRK.B", SMART, "BRK-B.SMART"),
    ("BRK B", Exchange.NYSE, "BRK-B.SMART"),
    ("BRK-B", SMART, "BRK-B.SMART"),
    ("BRK/B", SMART, "BRK-B.SMART"),
    ("brk.b.us", SMART, "BRK-B.SMART"),
    ("US.BRK.B", SMART, "BRK-B.SMART"),
    ("BRK B-USD-STK", SMART, "BRK-B.SMART"),
    ("BF.B", SMART, "BF-B.SMART"),
    # tickers that look like something else
    ("US", SMART, "US.SMART"),
    ("HK", SMART, "HK.SMART"),
    ("SH", SMART, "SH.SMART"),
    ("USD", SMART, "USD.SMART"),
    ("A", Exchange.NYSE, "A.SMART"),
    ("HK.US", SMART, "HK.SMART"),
    ("US.US", SMART, "US.SMART"),
    ("US.HK", SMART, "HK.SMART"),
    ("HK.B", SMART, "HK-B.SMART"),
    ("STK-USD-STK", SMART, "STK.SMART"),
    # conIds stay
    ("265598", SMART, "265598.SMART"),
    ("8314", Exchange.NYSE, "8314.SMART"),
    ("00700", SMART, "00700.SMART"),
    # Hong Kong
    ("700", SEHK, "00700.SEHK"),
    ("0700", SEHK, "00700.SEHK"),
    ("00700", SEHK, "00700.SEHK"),
    ("７００", SEHK, "00700.SEHK"),
    ("0700.HK", SEHK, "00700.SEHK"),
    ("00700.hk", SEHK, "00700.SEHK"),
    ("HK.00700", SEHK, "00700.SEHK"),
    ("700-HKD-STK", SEHK, "00700.SEHK"),
    ("700.HK", SMART, "00700.SEHK"),
    ("HK.00700", SMART, "00700.SEHK"),
    ("700-HKD-STK", SMART, "00700.SEHK"),
    ("000700", SEHK, "00700.SEHK"),
    # Stock Connect
    ("600519.SH", SMART, "600519.SSE"),
    ("600519.SH", SSE, "600519.SSE"),
    ("600519", SSE, "600519.SSE"),
    ("600519", Exchange.SHHK, "600519.SSE"),
    ("SH.600519", SSE, "600519.SSE"),
    ("000001.SZ", SEHK, "000001.SZSE"),
    ("1", SZSE, "000001.SZSE"),
    ("000001", SZSE, "000001.SZSE"),
    ("000001", Exchange.SZHK, "000001.SZSE"),
    ("000001", SSE, "000001.SSE"),
    # as IBKR users type it
    ("EUR-USD-CASH", Exchange.IDEALPRO, "EUR-USD-CASH.IDEALPRO"),
    ("es-202612-usd-fut", Exchange.CME, "ES-202612-USD-FUT.CME"),
    ("ES-202612-USD-FUT ", Exchange.CME, "ES-202612-USD-FUT.CME"),
    ("NDX-USD-IND", Exchange.NASDAQ, "NDX-USD-IND.NASDAQ"),
    ("VOD-GBP-STK", SMART, "VOD-GBP-STK.SMART"),
    ("AAPL-20261016-C-152_5-100-USD-OPT", SMART, "AAPL-20261016-C-152_5-100-USD-OPT.SMART"),
    ("AAPL-20261016-C-152.5-100-USD-OPT", SMART, "AAPL-20261016-C-152_5-100-USD-OPT.SMART"),
    ("AAPL  261016C00150000", SMART, "AAPL261016C00150000.SMART"),
    ("AAPL261016C00150000", SMART, "AAPL261016C00150000.SMART"),
    # odd, but not for us to judge
    ("腾讯控股", SEHK, "腾讯控股.SEHK"),
    ("AAPL", SEHK, "AAPL.SEHK"),
]


@pytest.mark.parametrize(("text", "exchange", "expected"), SPELLINGS)
def test_every_spelling_comes_to_one_symbol(text: str, exchange: Exchange, expected: str) -> None:
    symbol, market = canonical(text, exchange)
    assert f"{symbol}.{market.value}" == expected
    assert canonical(symbol, market) == (symbol, market)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("AAPL.US", "AAPL.SMART"),
        ("aapl.us", "AAPL.SMART"),
        ("US.AAPL", "AAPL.SMART"),
        ("AAPL.SMART", "AAPL.SMART"),
        ("AAPL.NASDAQ", "AAPL.SMART"),
        ("AAPL", "AAPL.SMART"),
        ("AAPL-USD-STK.SMART", "AAPL.SMART"),
        ("BRK.B.SMART", "BRK-B.SMART"),
        ("BRK.B", "BRK-B.SMART"),
        ("BRK B", "BRK-B.SMART"),
        ("US.CME", "CME.SMART"),
        ("CME.US", "CME.SMART"),
        ("US.NASDAQ", "US.SMART"),
        ("US.SMART", "US.SMART"),
        ("HK.SMART", "HK.SMART"),
        ("265598.SMART", "265598.SMART"),
        ("700.HK", "00700.SEHK"),
        ("HK.00700", "00700.SEHK"),
        (" 00700.SEHK ", "00700.SEHK"),
        ("700.SEHK", "00700.SEHK"),
        ("700-HKD-STK", "00700.SEHK"),
        ("700-HKD-STK.SEHK", "00700.SEHK"),
        ("600519.SH", "600519.SSE"),
        ("600519.SSE", "600519.SSE"),
        ("000001.SZ", "000001.SZSE"),
        ("EUR-USD-CASH.IDEALPRO", "EUR-USD-CASH.IDEALPRO"),
        ("ES-202612-USD-FUT.CME", "ES-202612-USD-FUT.CME"),
        ("AAPL-20261016-C-152.5-100-USD-OPT.SMART", "AAPL-20261016-C-152_5-100-USD-OPT.SMART"),
    ],
)
def test_a_vt_symbol_in_any_spelling(text: str, expected: str) -> None:
    assert canonical_vt(text) == expected
    assert canonical_vt(expected) == expected


@pytest.mark.parametrize("text", ["700", "SAP.DE", "AAPL.LSE", "ES-202612-USD-FUT", "腾讯"])
def test_a_vt_symbol_without_a_market_is_refused(text: str) -> None:
    with pytest.raises(SymbolError, match=r"市场|market"):
        canonical_vt(text)


IMPOSSIBLE = ["", "   ", "　", ".", " . . ", "-", "--", "@", "@-USD-STK"]
IMPOSSIBLE += ["A" * (MAX_LENGTH + 1), "A\x00B", "A\nB", "A\u200bB"]


@pytest.mark.parametrize("text", IMPOSSIBLE)
def test_what_can_be_no_symbol_is_refused_in_one_line(text: str) -> None:
    for ask in (lambda: canonical(text, SMART), lambda: canonical_vt(text)):
        with pytest.raises(SymbolError) as refusal:
            ask()
        line = str(refusal.value)
        assert line.isprintable()
        assert len(line) < 200


# Texts that lean on the spellings: markets, separators and signs at any place.
WORDS = ["AAPL", "brk", "B", "700", "00700", "600519", "1", "US", "HK", "SH", "SZ", "SSE", "SMART", "USD", "HKD", "STK"]
ENDS = ["OPT", "-USD-STK", "-HKD-STK", ".US", "US.", ".HK", "261016C00150000"]
SIGNS = [".", "-", "/", " ", "_", "Ａ", "．", "　", "é", "i", "\u0307"]
parts = st.sampled_from(WORDS + ENDS + SIGNS)
texts = st.one_of(st.lists(parts, max_size=8).map("".join), st.text(max_size=20))


@given(text=texts, exchange=st.sampled_from(list(Exchange)))
@settings(max_examples=1500, deadline=None, derandomize=True)
def test_a_canonical_symbol_is_its_own_spelling(text: str, exchange: Exchange) -> None:
    try:
        symbol, market = canonical(text, exchange)
    except SymbolError:
        return
    assert canonical(symbol, market) == (symbol, market)
    assert "." not in symbol
    assert not any(character.isspace() for character in symbol)


@given(ticker=st.from_regex(r"[A-Z]{1,5}", fullmatch=True))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_us_ticker_is_mangled(ticker: str) -> None:
    assert canonical(ticker, SMART) == (ticker, SMART)
    for spelling in (f"{ticker}.US", f"US.{ticker}", f"{ticker}-USD-STK", f"{ticker.lower()}.smart"):
        assert canonical(spelling, SEHK) == (ticker, SMART)
        assert canonical_vt(spelling) == f"{ticker}.SMART"


@given(code=st.integers(1, 99999), width=st.integers(1, 5), exchange=st.sampled_from([SMART, SEHK, SSE]))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_no_hong_kong_code_is_mangled(code: int, width: int, exchange: Exchange) -> None:
    typed = str(code).zfill(width)
    for spelling in (f"{typed}.HK", f"HK.{typed}", f"{typed}-HKD-STK"):
        assert canonical(spelling, exchange) == (f"{code:05}", SEHK)
    assert canonical(typed, SEHK) == (f"{code:05}", SEHK)
