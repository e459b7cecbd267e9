"""``python -m brokersim``: run the simulated brokers (design 7).

One line of JSON on stdout tells the addresses when all of them listen; nothing else is written there. It ends on
Ctrl-C, on SIGTERM and, with ``--until-stdin-closes``, when its parent is gone. Exit code 2: a port is taken, a
file cannot be read, or an option makes no sense.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from brokersim.faults import BadFault, Fault
from brokersim.faults import parse as parse_faults
from brokersim.half import BadCall, OpeningPosition, Options
from brokersim.positions import parse as parse_positions
from brokersim.replay import DataError
from brokersim.server import HALVES, serve

POSITIONS_HELP = (
    "opening positions, a JSON list of "
    '{"broker": "vbrokers", "account": "VBROKERS", "vt_symbol": "00700.SEHK", "volume": 200, "price": "320.4"}'
    " (volume negative for short, price the average cost; the account tells the broker where it is left out)"
)
KEEP_HELP = (
    "keep orders, fills, cash, positions and ids in this file (JSON), written while they change and at the end, and go "
    "on from it at the next start; day orders whose day is over then expire, --positions count only for a new file"
)


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise argparse.ArgumentTypeError(f"{text} is no port: 0 (a free one) to 65535")
    return port


def _above_zero(text: str) -> float:
    number = float(text)
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} must be above 0")
    return number


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m brokersim", description="Simulated brokers that speak the real wire."
    )
    parser.add_argument("--only", choices=sorted(HALVES), help="this broker alone")
    parser.add_argument(
        "--vbrokers-port", type=_port, default=0, metavar="N", help="HTTP port of the OpenAPI Gateway (0: a free one)"
    )
    parser.add_argument("--push-port", type=_port, default=0, metavar="N", help="its push port (0: a free one)")
    parser.add_argument(
        "--tws-port", type=_port, default=0, metavar="N", help="port of the simulated TWS (0: a free one)"
    )
    control = parser.add_mutually_exclusive_group()
    control.add_argument(
        "--control-port", type=_port, default=0, metavar="N", help="port of the control interface (0: a free one)"
    )
    control.add_argument("--no-control", action="store_true", help="without the control interface")
    parser.add_argument("--data", type=_folder, metavar="DIR", help="replay the market data files of this folder")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="seed of the generated markets (default 1)")
    parser.add_argument("--speed", type=_above_zero, default=1.0, metavar="X", help="times real time (default 1)")
    parser.add_argument(
        "--clock",
        choices=("wall", "data"),
        default="wall",
        help="the machine's time, or the data's own, moved by control",
    )
    parser.add_argument("--faults", type=Path, metavar="FILE", help="faults to begin with, a JSON list")
    parser.add_argument("--positions", type=Path, metavar="FILE", help=POSITIONS_HELP)
    parser.add_argument(
        "--password", default="123456", metavar="TEXT", help="the trading password that logs in (default 123456)"
    )
    parser.add_argument(
        "--switch",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="an uncertain behaviour of a broker, those of TWS as tws.NAME=VALUE; repeatable",
    )
    parser.add_argument("--keep", type=Path, metavar="FILE", help=KEEP_HELP)
    parser.add_argument("--until-stdin-closes", action="store_true", help="end when standard input closes")
    return parser


def _options(arguments: argparse.Namespace) -> Options:
    switches: dict[str, object] = {}
    for item in arguments.switch:
        name, equals, value = item.partition("=")
        if not equals:
            raise BadCall(f"switch {item!r}: write name=value")
        switches[name.strip()] = value.strip()
    return Options(
        only=arguments.only,
        vbrokers_port=arguments.vbrokers_port,
        push_port=arguments.push_port,
        tws_port=arguments.tws_port,
        control=not arguments.no_control,
        control_port=arguments.control_port,
        data=arguments.data,
        seed=arguments.seed,
        speed=arguments.speed,
        clock=arguments.clock,
        faults=_faults(arguments.faults),
        positions=_positions(arguments.positions),
        password=arguments.password,
        switches=switches,
        keep=arguments.keep,
    )


def _faults(path: Path | None) -> tuple[Fault, ...]:
    return () if path is None else tuple(parse_faults(path.read_bytes()))


def _positions(path: Path | None) -> tuple[OpeningPosition, ...]:
    if path is None:
        return ()
    try:
        return parse_positions(path.read_bytes())
    except BadCall as error:
        raise BadCall(f"{path}: {error}") from error


async def _run(options: Options, until_stdin_closes: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end(*_: object) -> None:
        try:
            loop.call_soon_threadsafe(stop.set)
        except RuntimeError:  # the loop has just ended by itself
            logging.getLogger(__name__).debug("stop after the end")

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    if until_stdin_closes:
        threading.Thread(target=_await_eof, args=(end,), name="brokersim-stdin", daemon=True).start()
    await serve(options, _tell_ready, stop)


def _await_eof(end: Callable[[], None]) -> None:
    """Read standard input until it closes.

    It is read by file number: a blocked buffered read would disturb the interpreter's end.
    """
    try:
        while os.read(0, 4096):
            pass
    except OSError:  # no standard input at all counts as closed
        logging.getLogger(__name__).debug("standard input cannot be read", exc_info=True)
    end()


def _tell_ready(ready: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to stop; the exit code."""
    arguments = _parser().parse_args(argv)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    try:
        asyncio.run(_run(_options(arguments), arguments.until_stdin_closes))
    except (BadCall, BadFault, DataError, OSError) as error:  # a taken port and an unreadable file are OSErrors
        sys.stderr.write(f"brokersim: {error}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
