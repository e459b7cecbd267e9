"""The gateways of one process, used by many: a server beside the brokers, clients anywhere.

A server is ``python run.py --no-gui --rpc``. In a client's script::

    from vnpy_brokers.rpc import RemoteGateway

    main_engine.add_gateway(RemoteGateway, "VBROKERS")
    main_engine.add_gateway(RemoteGateway, "IBKR")
    main_engine.connect({}, "VBROKERS")
    main_engine.connect({}, "IBKR")

The names are the server's; so are order ids, trade ids and accounts. Importing this package loads nothing of vn.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .gateway import RemoteGateway
    from .server import RpcServerEngine

__all__ = ["RemoteGateway", "RpcServerEngine"]

_HOMES = {"RemoteGateway": "gateway", "RpcServerEngine": "server"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
