"""The command line of ``run.py``."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from vnpy_brokerkit.i18n import _

from .refusal import Refusal
from .rpc.addresses import PUBLISH_ADDRESS, REPLY_ADDRESS
from .settings import choose_gateways


@dataclass(frozen=True)
class RpcOptions:
    """Where to serve RPC, as the command line says it: addresses in ZeroMQ's form, and the folder of the keys."""

    reply: str
    publish: str
    keys: Path | None


@dataclass(frozen=True)
class Options:
    """What was asked for. Paths are absolute: vn.py changes the working directory."""

    demo: bool
    gui: bool
    json: bool
    gateways: tuple[str, ...]
    settings: Path | None
    data: Path | None
    seconds: float | None
    rpc: RpcOptions | None
    """Where to serve RPC, None where it was not asked for."""
    remote: bool
    """Whether the gateways are those of a server elsewhere."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Refusal(_("命令行有误：{}。用 --help 查看用法").format(message))


def parse(argv: Sequence[str] | None = None) -> Options:
    """Read the command line. Raises `Refusal`; ``--help`` prints and raises SystemExit(0)."""
    given = _parser().parse_args(argv)
    data = _absolute(given.data)
    if data is not None and not data.is_dir():
        raise Refusal(_("--data 的目录不存在：{}").format(data))
    settings = _absolute(given.settings)
    if not given.rpc and any(value is not None for value in (given.rep, given.pub, given.keys)):
        raise Refusal(_("--rep、--pub 和 --keys 只与 --rpc 一起使用"))
    if given.remote and (given.rpc or given.demo or given.data):
        raise Refusal(_("--remote 不能与 --rpc、--demo 或 --data 一起使用"))
    return Options(
        demo=given.demo,
        gui=not (given.no_gui or given.json),
        json=given.json,
        gateways=choose_gateways([name for names in given.gateway for name in names]),
        settings=settings,
        data=data,
        seconds=given.seconds,
        rpc=RpcOptions(given.rep or REPLY_ADDRESS, given.pub or PUBLISH_ADDRESS, _absolute(given.keys))
        if given.rpc
        else None,
        remote=given.remote,
    )


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="run.py",
        description="VN Trader，带券商接口 / VN Trader with the brokers' gateways",
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--demo", action="store_true", help="演示：内置模拟，无需账户 / on simulated brokers, no account needed")
    add("--no-gui", action="store_true", help="用终端代替窗口 / a terminal instead of the window")
    add("--json", action="store_true", help="每个事件一行 JSON，无窗口 / one JSON line per event, no window")
    add("--gateway", nargs="+", action="append", default=[], metavar="NAME", help="只用这些接口 / only these gateways")
    add("--settings", type=Path, metavar="FILE", help="连接设置（JSON）/ connect settings (JSON)")
    add("--data", type=Path, metavar="DIR", help="内置模拟回放的行情目录 / market data that the simulators replay")
    add("--seconds", type=_seconds, metavar="N", help="N 秒后自行退出 / end after N seconds")
    add("--rpc", action="store_true", help="向其他进程提供这些接口 / serve these gateways to other processes")
    add("--rep", metavar="ADDR", help=f"RPC 请求地址 / address for requests ({REPLY_ADDRESS})")
    add("--pub", metavar="ADDR", help=f"RPC 推送地址 / address for news ({PUBLISH_ADDRESS})")
    add("--keys", type=Path, metavar="DIR", help="RPC 密钥目录，非本机地址必需 / keys, needed beyond this machine")
    add("--remote", action="store_true", help="使用 RPC 服务器的接口 / use the gateways of an RPC server")
    return parser


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise argparse.ArgumentTypeError(_("应当是不小于 0 的秒数，而不是 {}").format(text))
    return value


def _absolute(path: Path | None) -> Path | None:
    return None if path is None else path.expanduser().absolute()
