"""Standard output belongs to the door; everything that others write goes to stderr.

vn.py logs to stdout and its apps print. A program that reads our JSON lines, and a table that redraws itself, need a
stdout that nobody else touches. So the descriptor is moved away before vn.py is imported, and number 1 becomes a
second name of stderr: C code, child processes and ``print`` cannot reach the real one either.
"""

from __future__ import annotations

import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

STDOUT, STDERR = 1, 2
FLUSH_DEADLINE_S = 2.0


def speak_utf8() -> None:
    """Make both standard streams UTF-8, whatever the platform's locale is; a console that cannot, gets escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")


def say(line: str) -> None:
    """One line for a person, on stderr. Without a console (pythonw) there is nobody to tell."""
    if sys.stderr is not None:
        sys.stderr.write(f"{line}\n")
        sys.stderr.flush()


@contextmanager
def taken_stdout() -> Iterator[io.FileIO]:
    """Hand out the real stdout as an unbuffered file; inside, descriptor 1 and ``sys.stdout`` are stderr.

    Where the process has no stdout (closed, or a Windows program without a console) a null file is handed out.
    """
    before = sys.stdout
    if before is not None:
        before.flush()
    try:
        saved = os.dup(STDOUT)
    except OSError:
        saved = os.open(os.devnull, os.O_WRONLY)
    _replace_stdout_by_stderr()
    try:
        # Not io.FileIO: on a Windows console only open() makes the file that takes UTF-8.
        with open(saved, "wb", buffering=0, closefd=False) as real:
            yield real
    finally:
        os.dup2(saved, STDOUT)
        os.close(saved)
        sys.stdout = before


def _replace_stdout_by_stderr() -> None:
    try:
        os.dup2(STDERR, STDOUT)
    except OSError:  # no stderr either
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, STDOUT)
        if null != STDOUT:
            os.close(null)
    if sys.stderr is not None:
        sys.stdout = sys.stderr


class LineWriter:
    """Writes lines to stdout from a thread of its own, UTF-8, each at once.

    `write` only queues, so a reader that is slow stalls neither vn.py's event thread nor the main one. When the
    reader goes away `on_broken` is called once, from the writing thread, and the rest is dropped.
    """

    def __init__(self, stdout: io.FileIO, on_broken: Callable[[], None]) -> None:
        self._stdout = stdout
        self._on_broken = on_broken
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="stdout", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line, given without its end. May be called from any thread."""
        self._lines.put(line)

    def close(self) -> None:
        """Write out what is queued; a reader that no longer reads is waited for 2 s at most."""
        self._lines.put(None)
        self._thread.join(FLUSH_DEADLINE_S)

    def _run(self) -> None:
        while (line := self._lines.get()) is not None:
            try:
                self._write_all(line.encode("utf-8", "backslashreplace") + b"\n")
            except (OSError, ValueError):  # the reader closed its end, or we did after waiting for it
                self._on_broken()
                return

    def _write_all(self, data: bytes) -> None:
        while data:
            data = data[self._stdout.write(data) :]
