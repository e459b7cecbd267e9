"""Whether an order's instrument is the one that a strategy's settings name, in whatever spelling."""

from __future__ import annotations

from vnpy.trader.constant import Exchange
from vnpy.trader.engine import MainEngine
from vnpy.trader.utility import extract_vt_symbol

from vnpy_brokerkit.async_gateway import AsyncGateway

from .rpc import RemoteGateway


def trades_it(main_engine: MainEngine, vt_symbol: str, gateway_name: str, key: tuple[str, Exchange]) -> bool | None:
    """Tell whether a strategy on ``vt_symbol`` trades the instrument of an order, ``key`` in its one spelling.

    ``None``: that cannot be told before the contract of ``vt_symbol`` is there, since the text alone does not say it
    (a conId). A contract under another spelling names the one it stands for (:mod:`vnpy_brokerkit.aliases`).
    """
    own = extract_vt_symbol(vt_symbol)
    gateway = main_engine.gateways.get(gateway_name)
    if isinstance(gateway, AsyncGateway | RemoteGateway):
        own = gateway.canonical(*own)
    if own == key:
        return True
    contract = main_engine.get_contract(vt_symbol)
    if contract is None:
        return None
    canonical = (contract.extra or {}).get("canonical")
    return bool(canonical) and extract_vt_symbol(str(canonical)) == key
