"""Passwords: where they come from, how they are kept out of every text, and the system's keychain.

Order (design, section 6): what was typed into the settings, now or earlier in this process where no keychain took it,
the system's keychain, the environment variable. A keychain may be missing, locked, or waiting for a person to press a
button in a window behind ours; so it is asked in a thread of its own that nobody has to wait for, neither the event
loop nor the end of the process.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import os
import re
import threading
from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple, NoReturn, Protocol, TypeVar
from urllib.parse import quote, quote_plus

from .errors import CredentialsError
from .i18n import _

MASK = "******"

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Secret:
    """A password or key that shows itself only to who asks for it by :meth:`reveal`.

    ``str``, ``repr`` and every format give the mask. It cannot be pickled or deep-copied (both write it out somewhere),
    and compares in constant time.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself, for the wire and for nothing else."""
        return self._text

    def __repr__(self) -> str:
        return f"Secret({MASK})"

    def __str__(self) -> str:
        return MASK

    def __format__(self, spec: str) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # A variable of the environment that is not valid UTF-8 arrives with surrogates in it.
        mine, theirs = (text.encode("utf-8", "surrogatepass") for text in (self._text, other._text))
        return hmac.compare_digest(mine, theirs)

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a Secret cannot be pickled or copied")


def mask(text: str, *secrets: Secret | str) -> str:
    """``text`` with every secret replaced by the mask, also where it stands as JSON, ``repr`` or URL would write it."""
    spellings = {spelling for secret in secrets for spelling in _spellings(secret) if spelling}
    if not spellings:
        return text
    # One pass, longest first: a mask that was just put in is never searched, and no tail of a longer secret remains.
    pattern = "|".join(re.escape(spelling) for spelling in sorted(spellings, key=len, reverse=True))
    return re.sub(pattern, MASK, text)


def _spellings(secret: Secret | str) -> set[str]:
    plain = secret.reveal() if isinstance(secret, Secret) else secret
    escaped = {json.dumps(plain)[1:-1], json.dumps(plain, ensure_ascii=False)[1:-1], repr(plain)[1:-1]}
    quoted = {quote(plain, safe, errors="surrogatepass") for safe in ("/", "")}
    return {plain, quote_plus(plain, errors="surrogatepass")} | escaped | quoted


class Keychain(Protocol):
    """The two calls of a keychain; the ``keyring`` package and its backends have them."""

    def get_password(self, service: str, username: str) -> str | None: ...

    def set_password(self, service: str, username: str, password: str) -> None: ...


class Source(Enum):
    """Where a password came from; the remedy for a refused one depends on it."""

    TYPED = auto()
    MEMORY = auto()
    """Typed earlier in this process, and in no keychain."""
    KEYCHAIN = auto()
    ENVIRONMENT = auto()


class Found(NamedTuple):
    """A password and where it was found."""

    password: Secret
    source: Source


class Memory:
    """The passwords that were typed in this process and are in no keychain, by account. One for a gateway's life.

    VN Trader's field is empty at the second 连接, since connect() takes the password out of the file.
    """

    def __init__(self) -> None:
        self._held: dict[str, Secret] = {}
        self.told = False
        """Whether the line that there is no keychain was written: once a process is enough."""

    def keep(self, account: str, password: Secret) -> None:
        """Remember what was typed for an account."""
        self._held[account] = password

    def get(self, account: str) -> Secret | None:
        """What was typed last for an account, unless it was forgotten."""
        return self._held.get(account)

    def forget(self, account: str) -> None:
        """The keychain has it, or the broker refused it."""
        self._held.pop(account, None)

    def __repr__(self) -> str:
        return f"Memory({len(self._held)})"


async def find_password(
    service: str,
    account: str,
    typed: str,
    env: str,
    *,
    memory: Memory | None = None,
    setting: str = "交易密码",
    timeout: float = 5.0,
    keyring_backend: Keychain | None = None,
) -> Found:
    """The password: ``typed``, else ``memory``'s, else the keychain's for ``service`` and ``account``, else ``env``'s.

    What was typed is kept in ``memory`` until a keychain has it (:func:`store_password`), so it is newer than the
    keychain's. The keychain is asked for ``timeout`` seconds at most (design, section 6) and never raises or blocks the
    loop. Raises CredentialsError, which names ``setting`` and ``env``, when there is no password anywhere.
    """
    if typed.strip():
        found = Found(Secret(typed), Source.TYPED)
        if memory is not None:
            memory.keep(account, found.password)
        return found
    kept = memory.get(account) if memory is not None else None
    if kept is not None:
        return Found(kept, Source.MEMORY)
    stored, reason = await _ask_keychain(lambda: _keychain(keyring_backend).get_password(service, account), timeout)
    if stored:
        return Found(Secret(stored), Source.KEYCHAIN)
    from_environment = os.environ.get(env, "")
    if from_environment:
        return Found(Secret(from_environment), Source.ENVIRONMENT)
    text = _("没有密码：请在连接设置中填写“{setting}”，或设置环境变量 {env}").format(setting=setting, env=env)
    if reason:
        text += _("（系统钥匙串：{reason}）").format(reason=reason)
    raise CredentialsError(text, about=setting)


async def store_password(
    service: str,
    account: str,
    password: Secret,
    env: str,
    *,
    timeout: float = 5.0,
    keyring_backend: Keychain | None = None,
) -> tuple[bool, str]:
    """Put a password that logged in well into the keychain, unless it is there already.

    Gives ``(True, "")``, or ``(False, line)`` where no keychain took it: the line for the log names the variable
    ``env``, since the password then lives in memory only. Never raises for the keychain's sake.
    """

    def store() -> bool:
        keychain = _keychain(keyring_backend)
        if keychain.get_password(service, account) == password.reveal():
            return True
        keychain.set_password(service, account, password.reveal())
        # A backend that swallows what it is given (keyring's `null`) is no keychain: read back what was written.
        return keychain.get_password(service, account) == password.reveal()

    stored, reason = await _ask_keychain(store, timeout)
    if stored:
        return True, ""
    line = _("密码只保存在内存中：系统钥匙串不可用（{reason}）；下次启动前请设置环境变量 {env}，或重新填写密码")
    return False, mask(line.format(reason=reason or _("没有保存"), env=env), password)


def _keychain(backend: Keychain | None) -> Keychain:
    if backend is not None:
        return backend
    # Late: choosing a backend reads the disk and may talk to a bus, so it belongs into the keychain's thread too.
    import keyring

    return keyring.get_keyring()


def _reason(error: Exception) -> str:
    """In a few words; keyring's own text for no keychain at all is an essay about packages."""
    name = type(error).__name__
    return _("此系统没有可用的钥匙串") if name == "NoKeyringError" else f"{name}: {error}"


# A keychain thread that did not answer in time. While it still hangs, asking again would only add another thread, and
# on some systems another window that asks the person for leave.
_hanging: threading.Thread | None = None


async def _ask_keychain(call: Callable[[], T], timeout: float) -> tuple[T | None, str]:
    """The result of ``call`` and no reason, or None and the reason why there is none."""
    global _hanging
    no_answer = _("没有回应")
    if _hanging is not None and _hanging.is_alive():
        return None, no_answer
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[tuple[T | None, str]] = loop.create_future()

    def settle(outcome: tuple[T | None, str]) -> None:
        if not answer.done():
            answer.set_result(outcome)

    def work() -> None:
        outcome: tuple[T | None, str]
        try:
            outcome = call(), ""
        except Exception as error:  # noqa: BLE001  # backends raise whatever their system raises; it is reported
            outcome = None, _reason(error)
        try:
            loop.call_soon_threadsafe(settle, outcome)
        except RuntimeError:
            logger.debug("the keychain answered after the event loop had closed")

    # Not an executor: Python joins an executor's threads at exit, and this one may hang for ever.
    thread = threading.Thread(target=work, name="keychain", daemon=True)
    thread.start()
    try:
        return await asyncio.wait_for(answer, timeout)
    except asyncio.TimeoutError:
        _hanging = thread
        return None, no_answer
