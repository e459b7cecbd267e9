"""The door: from the command line to a running VN Trader, terminal or stream of events, and out again.

The order matters. Paths become absolute and stdout is taken before anything else; the demo steps into its own folder
before vn.py is imported; handlers are registered before gateways connect; and however it ends, the engine is closed.
vn.py is therefore imported inside the functions that need it.
"""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from vnpy_brokerkit.i18n import _

from .console import LineWriter, say, speak_utf8, taken_stdout
from .folder import demo_folder
from .options import Options, parse
from .qt_probe import why_no_window
from .refusal import Refusal
from .settings import Setting, defaults, demo_setting, read_saved, read_settings
from .stopping import StopRequest, signals_request
from .zones import start_warning

if TYPE_CHECKING:
    from .trader import TraderEngine

DONE, REFUSED = 0, 2
POLL_S = 0.5


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code: 0, or 2 with one line on stderr when it was refused."""
    speak_utf8()
    try:
        options = parse(argv)
        with ExitStack() as stack:
            stdout = stack.enter_context(taken_stdout())
            stop = StopRequest()
            stack.enter_context(signals_request(stop))
            settings = read_settings(options.settings) if options.settings else None
            gui = options.gui and _window_possible()
            if options.demo:
                stack.enter_context(demo_folder())
            _prepare_vnpy(quiet=not gui and not options.json and stdout.isatty())
            if stop.requested():
                return DONE
            _run(options, settings, gui=gui, stdout=stdout, stop=stop)
    except Refusal as refusal:
        say(str(refusal))
        return REFUSED
    return DONE


def _window_possible() -> bool:
    reason = why_no_window()
    if reason is not None:
        say(_("无法打开窗口，改用终端（--no-gui）：{}").format(reason))
    return reason is None


def _prepare_vnpy(*, quiet: bool) -> None:
    """Import vn.py's settings and correct what the door must; `quiet` keeps log lines off a screen with a table."""
    # loguru would write the values of variables, and so a password, beside a traceback.
    os.environ.setdefault("LOGURU_DIAGNOSE", "NO")
    try:
        from vnpy.trader.setting import SETTINGS
    except json.JSONDecodeError as error:
        text = _("vn.py 的 .vntrader/vt_setting.json 不是有效的 JSON（第 {} 行），请改正或删除它")
        raise Refusal(text.format(error.lineno)) from None
    except OSError as error:  # vn.py makes its folder when it is imported
        text = _("无法使用 vn.py 的文件夹 {}：{}。请换一个可写的目录运行")
        raise Refusal(text.format(error.filename, error.strerror)) from None
    warning = start_warning(SETTINGS["database.timezone"], datetime.now(timezone.utc))
    if warning:
        say(warning)
    if quiet and sys.stderr is not None and sys.stderr.isatty():
        SETTINGS["log.console"] = False


def _run(
    options: Options, settings: dict[str, Setting] | None, *, gui: bool, stdout: io.FileIO, stop: StopRequest
) -> None:
    """Build the engine, show it, close it."""
    from vnpy.event import EventEngine

    from .trader import APPS, TraderEngine

    if options.data is not None:
        from vnpy_brokerkit import embedded

        embedded.configure(data=options.data)
    if stop.requested():
        return
    engine = TraderEngine(EventEngine())
    try:
        make_view = _window if gui else _json_lines if options.json else _terminal
        view = make_view(engine, options, stdout, stop)
        engine.add_gateways(options.gateways, remote=options.remote)
        if gui:
            engine.add_apps(APPS)
        if options.rpc:
            engine.start_rpc(options.rpc)
        chosen = _connect_settings(engine, options, settings, gui=gui)
        if options.demo:
            from .demo import start_demo

            start_demo(engine)
        stop.listen()
        if not stop.requested():
            view(lambda: engine.connect_all(chosen))
    finally:
        engine.close()


def _connect_settings(
    engine: TraderEngine, options: Options, settings: dict[str, Setting] | None, *, gui: bool
) -> dict[str, Setting]:
    """Who is connected at once, and with what.

    The demo connects everything to the embedded simulators. A settings file connects what it names. Without either
    the window leaves it to its dialog, and the terminal, which has none, takes what the dialog stored last, else the
    defaults.
    """
    from vnpy.trader.utility import get_file_path

    default = {name: engine.get_default_setting(name) or {} for name in options.gateways}
    if options.demo:
        chosen = settings or {}
        return {name: demo_setting(name, default[name], chosen.get(name, {})) for name in options.gateways}
    if settings is not None:
        named = {name: settings[name] for name in options.gateways if name in settings}
        if not named:
            text = _("设置文件 {} 里没有所选接口 {} 的设置")
            raise Refusal(text.format(options.settings, ", ".join(options.gateways)))
        return named
    if gui:
        return {}
    saved = {name: read_saved(get_file_path(f"connect_{name.lower()}.json")) for name in options.gateways}
    return {name: saved[name] or defaults(default[name]) for name in options.gateways}


# Each of the three below registers its handlers on the engine and returns the view. That is called with `connect`,
# which it calls once it is up, and it returns when it is time to end.
View = Callable[[Callable[[], None]], None]


def _window(engine: TraderEngine, options: Options, stdout: io.FileIO, stop: StopRequest) -> View:
    from .window import run_window

    def view(connect: Callable[[], None]) -> None:
        run_window(engine, demo=options.demo, stop=stop, seconds=options.seconds, when_shown=connect)

    return view


def _terminal(engine: TraderEngine, options: Options, stdout: io.FileIO, stop: StopRequest) -> View:
    from .terminal import terminal

    table = terminal(engine, stdout, demo=options.demo)

    def view(connect: Callable[[], None]) -> None:
        connect()
        if options.seconds is not None:
            stop.request_after(options.seconds)
        table.run(stdout, stop)

    return view


def _json_lines(engine: TraderEngine, options: Options, stdout: io.FileIO, stop: StopRequest) -> View:
    from .json_events import JsonEvents

    writer = LineWriter(stdout, stop.request)
    JsonEvents(engine.event_engine, writer.write)

    def view(connect: Callable[[], None]) -> None:
        connect()
        if options.seconds is not None:
            stop.request_after(options.seconds)
        while not stop.wait(POLL_S):
            pass
        engine.close()
        writer.close()

    return view
