"""内置模拟: the simulated brokers as a child process, one for all gateways of this process.

The child is ``python -m brokersim``. It ends when its stdin closes, so it goes with this process however that ends
(design, sections 2 and 7). The calls here block; gateways make them from an executor.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import msgspec

from .errors import ConnectionFailed
from .i18n import _

ABOUT = "brokersim"
_ROOT = Path(__file__).resolve().parent.parent
_LINE_BYTES = 4096
# Seconds that the child gets to go by itself, after being asked by the system, and after being killed.
_STOP_WAITS = (2.0, 0.5, 1.0)


@dataclass(frozen=True)
class Address:
    """A host and a port on loopback."""

    host: str
    port: int


@dataclass(frozen=True)
class Endpoints:
    """Where the simulated brokers listen; ``tws`` is None where only VBrokers is simulated."""

    vbrokers: Address
    push: Address
    tws: Address | None

    @property
    def vbrokers_url(self) -> str:
        return f"http://{self.vbrokers.host}:{self.vbrokers.port}"


class _Ready(msgspec.Struct):
    """The child's one line on stdout (design, section 7)."""

    ready: bool
    vbrokers: str
    push: str
    tws: str | None = None

    def endpoints(self) -> Endpoints:
        return Endpoints(
            vbrokers=_address(self.vbrokers),
            push=_address(f"//{self.push}"),
            tws=_address(f"//{self.tws}") if self.tws else None,
        )


def _address(url: str) -> Address:
    parts = urlsplit(url)
    if not parts.hostname or not parts.port:
        raise ValueError(f"no host and port in {url!r}")
    return Address(parts.hostname, parts.port)


class _Child:
    """One run of the simulator: its process, its pipes, and the two threads that empty them."""

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._first_line = b""
        self._answered = threading.Event()
        self._last_errors: deque[bytes] = deque(maxlen=40)
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                # `-m` looks for modules in the working directory first: it must hold none that hide others.
                cwd=folder,
                env=_environment(),
                **_own_group(),
            )
        except OSError as error:
            text = _("内置模拟无法启动：{error}").format(error=error)
            raise ConnectionFailed(text, about=ABOUT) from error
        stdin, stdout, stderr = self._process.stdin, self._process.stdout, self._process.stderr
        assert stdin is not None  # all three are pipes, see above
        assert stdout is not None
        assert stderr is not None
        self._stdin: IO[bytes] = stdin
        # A full pipe would stop the child, so both are emptied to their end.
        self._readers = [
            threading.Thread(target=self._read_stdout, args=(stdout,), name="brokersim-stdout", daemon=True),
            threading.Thread(target=self._read_stderr, args=(stderr,), name="brokersim-stderr", daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def endpoints(self, timeout: float) -> Endpoints:
        """Wait for the ready line. Raises ConnectionFailed when the child ends, is silent or says something else."""
        if not self._answered.wait(timeout):
            raise ConnectionFailed(_("内置模拟在 {seconds:g} 秒内没有就绪").format(seconds=timeout), about=ABOUT)
        if not self._first_line:
            self.stop()
            text = _("内置模拟已退出：{reason}").format(reason=self._last_words())
            raise ConnectionFailed(text, about=ABOUT)
        try:
            return msgspec.json.decode(self._first_line, type=_Ready).endpoints()
        except (ValueError, RecursionError) as error:
            text = _("内置模拟的就绪信息无法识别：{error}").format(error=error)
            raise ConnectionFailed(text, about=ABOUT) from error

    def stop(self) -> None:
        """End the child and wait for it and for the threads, 3.5 s at most. May be called again, by any thread."""
        ways = (self._stdin.close, self._process.terminate, self._process.kill)
        for end, seconds in zip(ways, _STOP_WAITS, strict=True):
            end()
            try:
                self._process.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                continue
        for reader in self._readers:
            reader.join(_STOP_WAITS[-1])

    def _read_stdout(self, pipe: IO[bytes]) -> None:
        with pipe:
            self._first_line = pipe.readline(_LINE_BYTES)
            self._answered.set()
            while pipe.readline(_LINE_BYTES):
                pass
        # A child that ends by itself leaves nothing either: no zombie, no pipe.
        self._process.wait()
        self._stdin.close()

    def _read_stderr(self, pipe: IO[bytes]) -> None:
        with pipe:
            for line in iter(lambda: pipe.readline(_LINE_BYTES), b""):
                if line.strip():
                    self._last_errors.append(line)

    def _last_words(self) -> str:
        if not self._last_errors:
            return _("退出码 {code}").format(code=self._process.returncode)
        return self._last_errors[-1].decode("utf-8", "replace").strip()


class EmbeddedSimulator:
    """Starts the simulator for the first owner and ends it with the last. For any thread; the calls block.

    An owner is a text that tells one gateway object from all others of the process. Gateways use the module's
    :data:`SIMULATOR`; another instance is another simulator.
    """

    def __init__(self, command: Sequence[str] | None = None, *, start_timeout: float = 20.0) -> None:
        self.data: Path | None = None
        self._command = command
        self._start_timeout = start_timeout
        # Held for moments only, never while waiting for the child, so that closing can interrupt a start.
        self._lock = threading.Lock()
        self._owners: set[str] = set()
        self._child: _Child | None = None
        self._ends_with_process = False

    def acquire(self, owner: str, *, data: Path | None = None, speed: float = 1.0) -> Endpoints:
        """Where the running simulator listens; it is started when there is none, or when it ended by itself.

        ``data`` (else what :func:`configure` said) and ``speed`` (times real time) count for the start; who comes later
        shares the simulator as it is. Once per owner is enough, again is harmless.
        Raises ConnectionFailed, with the child's last line on stderr, when it does not come up within 20 s or is
        released meanwhile; the owner then holds nothing.
        """
        with self._lock:
            if self._child is None or not self._child.running:
                self._child = self._start(data or self.data, speed)
            self._owners.add(owner)
            child = self._child
        try:
            return child.endpoints(self._start_timeout)
        except ConnectionFailed:
            with self._lock:
                self._owners.discard(owner)
                if self._child is child:
                    self._child = None
            child.stop()
            raise

    def release(self, owner: str) -> None:
        """Let go; the last owner's call ends the child, which takes 3.5 s at the worst. Again is harmless."""
        with self._lock:
            self._owners.discard(owner)
            if self._owners:
                return
            child, self._child = self._child, None
        if child is not None:
            child.stop()

    def _start(self, data: Path | None, speed: float) -> _Child:
        folder = temporary_folder()
        if not self._ends_with_process:
            # After the folder's own: what is registered last runs first, and the child works in the folder.
            atexit.register(self._release_all)
            self._ends_with_process = True
        command = list(self._command or (sys.executable, "-m", "brokersim", "--no-control", "--until-stdin-closes"))
        if data is not None:
            command += ["--data", str(data.resolve())]
        if speed != 1.0:
            command += ["--speed", f"{speed:g}"]
        return _Child(command, folder)

    def _release_all(self) -> None:
        with self._lock:
            self._owners.clear()
            child, self._child = self._child, None
        if child is not None:
            child.stop()


SIMULATOR = EmbeddedSimulator()


def configure(data: Path | None) -> None:
    """The folder of market data for the next start of :data:`SIMULATOR`; None for generated data.

    A relative path is resolved now, since vn.py changes the working directory later.
    """
    SIMULATOR.data = None if data is None else data.resolve()


_folder_lock = threading.Lock()
_folder: Path | None = None


def temporary_folder() -> Path:
    """The folder of 内置模拟 for journal, latch and caches: one per process, owner-only, gone when the process ends."""
    global _folder
    with _folder_lock:
        if _folder is None:
            _folder = Path(tempfile.mkdtemp(prefix="vnpy_brokers_"))
            # An open file keeps Windows from removing its folder: what can be removed is.
            atexit.register(shutil.rmtree, _folder, ignore_errors=True)
        return _folder


def _environment() -> Mapping[str, str]:
    """Ours, with the place of the simulator's package added where a fresh interpreter would not look."""
    environment = dict(os.environ, PYTHONIOENCODING="utf-8")
    # An installed package is found anyway; on PYTHONPATH all of site-packages would come before the standard library.
    if str(_ROOT) not in (sysconfig.get_path("purelib"), sysconfig.get_path("platlib")):
        inherited = environment.get("PYTHONPATH", "")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), inherited)))
    return environment


def _own_group() -> dict[str, Any]:
    """Options that keep our Ctrl-C from the child (it ends by its stdin) and, on Windows, a console window away."""
    if sys.platform == "win32":
        return {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
    return {"start_new_session": True}
