"""``brokersim.running()``: a simulator for the length of a ``with`` block, and the control calls as methods."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from brokersim.faults import parse as parse_faults
from brokersim.half import BadCall, Options
from brokersim.positions import convert as convert_positions
from brokersim.server import HALVES, serve

CALL_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 10.0
Amount = Decimal | int | float | str


class ControlError(RuntimeError):
    """A control call was refused; the text is the simulator's line."""


@dataclass(frozen=True)
class Simulation:
    """A running simulator: its addresses, and the control calls (design 7, "Control")."""

    vbrokers_url: str | None
    push_address: str | None
    tws_address: str | None
    control_url: str

    def state(self) -> dict[str, Any]:
        """The truth of all brokers at one instant."""
        state: dict[str, Any] = self._call("GET", "/state")
        return state

    def wire(self) -> dict[str, dict[str, int]]:
        """Requests received, by broker and route."""
        wire: dict[str, dict[str, int]] = self._call("GET", "/wire")
        return wire

    def faults(self, faults: Sequence[Mapping[str, object]]) -> None:
        """Arm faults; those without ``when`` strike before this returns."""
        self._call("POST", "/faults", list(faults))

    def clear_faults(self) -> None:
        """Forget the armed faults, and end what struck ones have caused."""
        self._call("DELETE", "/faults")

    def clock(self) -> datetime:
        """The simulator's present instant, aware."""
        return _time(self._call("GET", "/clock"))

    def set_clock(self, at: datetime | str) -> datetime:
        """Move the clock to an instant."""
        return _time(self._call("POST", "/clock", {"set": at.isoformat() if isinstance(at, datetime) else at}))

    def advance(self, seconds: float) -> datetime:
        """Move the clock on, playing every quote in between."""
        return _time(self._call("POST", "/clock", {"advance_s": seconds}))

    def pause(self) -> datetime:
        """Quotes stand still."""
        return _time(self._call("POST", "/clock", {"pause": True}))

    def resume(self) -> datetime:
        """Quotes run again."""
        return _time(self._call("POST", "/clock", {"pause": False}))

    def order(
        self,
        vt_symbol: str,
        direction: str,
        volume: Amount,
        price: Amount = 0,
        *,
        broker: str = "vbrokers",
        account: str | None = None,
        type: str = "LIMIT",
    ) -> str:
        """An order from the phone; its id."""
        body = {
            "broker": broker,
            "vt_symbol": vt_symbol,
            "direction": direction,
            "type": type,
            "volume": str(volume),
            "price": str(price),
        }
        if account is not None:
            body["account"] = account
        return str(self._call("POST", "/orders", body)["id"])

    def quote(self, vt_symbol: str, **changes: Amount) -> dict[str, Any]:
        """Set last, bid, ask, bid_size, ask_size of the standing quote."""
        body = {"vt_symbol": vt_symbol} | {name: str(value) for name, value in changes.items()}
        quote: dict[str, Any] = self._call("POST", "/quotes", body)
        return quote

    def switches(self, **changes: object) -> dict[str, Any]:
        """Change uncertain behaviours of the brokers (those of TWS are ``tws.<name>``); all as they now are."""
        switches: dict[str, Any] = self._call("POST", "/switches", changes)
        return switches

    def _call(self, method: str, path: str, body: object = None) -> Any:
        connection = http.client.HTTPConnection(urlsplit(self.control_url).netloc, timeout=CALL_TIMEOUT_S)
        try:
            payload = None if body is None else json.dumps(body).encode("utf-8")
            connection.request(method, path, body=payload)
            response = connection.getresponse()
            answer = json.loads(response.read())
        finally:
            connection.close()
        if response.status != 200:
            raise ControlError(answer["error"])
        return answer


def _time(answer: Mapping[str, str]) -> datetime:
    return datetime.fromisoformat(answer["now"])


def _simulation(ready: Mapping[str, Any]) -> Simulation:
    return Simulation(ready.get("vbrokers"), ready.get("push"), ready.get("tws"), ready["control"])


@contextlib.contextmanager
def running(
    vbrokers: bool = True,
    tws: bool = False,
    data: Path | str | None = None,
    *,
    process: bool = False,
    faults: Sequence[Mapping[str, object]] = (),
    positions: Sequence[Mapping[str, object]] | Mapping[str, Sequence[Mapping[str, object]]] = (),
    **options: Any,
) -> Iterator[Simulation]:
    """A simulator in a thread with its own loop, or with ``process`` in a child process; gone when the block ends.

    ``options`` are the fields of :class:`brokersim.half.Options`: ``clock``, ``seed``, ``speed``, ``password``,
    ``switches``, ``keep`` and the ports. Raises :class:`BadCall` or :class:`brokersim.faults.BadFault` for what makes
    no sense, :class:`brokersim.net.PortTaken` for a taken port.
    """
    wanted = [name for name, chosen in (("vbrokers", vbrokers), ("tws", tws)) if chosen]
    if not wanted or not set(wanted) <= HALVES.keys():
        raise BadCall(f"choose at least one broker of {', '.join(HALVES)}")
    chosen = Options(
        only=wanted[0] if len(wanted) == 1 else None,
        data=None if data is None else Path(data),
        faults=tuple(parse_faults(json.dumps(list(faults)))),
        positions=convert_positions(positions),
    )
    chosen = replace(chosen, **options)
    with _in_process(chosen) if process else _in_thread(chosen) as ready:
        yield _simulation(ready)


@contextlib.contextmanager
def _in_thread(options: Options) -> Iterator[dict[str, object]]:
    runner = _Thread(options)
    runner.start()
    try:
        yield runner.ready()
    finally:
        runner.stop()


class _Thread(threading.Thread):
    """The simulator's loop in a thread; what ends it early is raised in the caller's thread."""

    def __init__(self, options: Options) -> None:
        super().__init__(name="brokersim")
        self._options = options
        self._begun = threading.Event()
        self._ready: dict[str, object] | None = None
        self._error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Event | None = None

    def run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - carried over to the thread that started this one, and raised there
            self._error = error
        finally:
            self._begun.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ending = asyncio.Event()
        await serve(self._options, self._on_ready, self._ending)

    def _on_ready(self, ready: dict[str, object]) -> None:
        self._ready = ready
        self._begun.set()

    def ready(self) -> dict[str, object]:
        """What the ready line says, as soon as there is one."""
        self._begun.wait()
        if self._ready is None:
            self.join()
            raise self._error or RuntimeError("the simulator ended before it was ready")
        return self._ready

    def stop(self) -> None:
        """End the loop and the thread; raises what the loop died of."""
        if self._loop is not None and self._ending is not None and self.is_alive():
            with contextlib.suppress(RuntimeError):  # the loop has just ended by itself
                self._loop.call_soon_threadsafe(self._ending.set)
        self.join(STOP_TIMEOUT_S)
        if self._ready is not None and self._error is not None:
            raise self._error


@contextlib.contextmanager
def _in_process(options: Options) -> Iterator[dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="brokersim-") as folder:
        command = [sys.executable, "-m", "brokersim", "--until-stdin-closes", *_arguments(options, Path(folder))]
        paths = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
        child = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
            text=True,
            encoding="utf-8",
        )
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            if not line:
                raise RuntimeError(f"the simulator ended with code {child.wait()}: its reason is on standard error")
            yield json.loads(line)
        finally:
            child.stdin.close()
            try:
                child.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            child.stdout.close()


def _arguments(options: Options, folder: Path) -> list[str]:
    """The command line that says the same as ``options``."""
    arguments = [
        *("--vbrokers-port", str(options.vbrokers_port), "--push-port", str(options.push_port)),
        *("--tws-port", str(options.tws_port)),
        *("--control-port", str(options.control_port), "--seed", str(options.seed), "--speed", str(options.speed)),
        *("--clock", options.clock, "--password", options.password),
    ]
    if options.only is not None:
        arguments += ["--only", options.only]
    if options.keep is not None:
        arguments += ["--keep", str(options.keep)]
    if options.data is not None:
        arguments += ["--data", str(options.data)]
    for name, value in options.switches.items():
        arguments += ["--switch", f"{name}={value}"]
    for name, rows in (("faults", options.faults), ("positions", options.positions)):
        if rows:
            path = folder / f"{name}.json"
            path.write_bytes(msgspec.json.encode(rows))
            arguments += [f"--{name}", str(path)]
    return arguments
