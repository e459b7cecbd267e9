"""Getting in: the trading password, its cipher, and the latch that keeps a wrong one from being tried again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from vnpy_brokerkit.clock import Clock
from vnpy_brokerkit.credentials import Secret, Source, find_password, store_password
from vnpy_brokerkit.errors import BrokerError
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.latch import LoginLatch

from .settings import Settings
from .wire.crypto import decode_key, encrypt_password

PASSWORD_VARIABLE = "VNPY_VBROKERS_PASSWORD"
KEYCHAIN_SERVICE = "vnpy_vbrokers"
EMBEDDED_PASSWORD = "123456"
"""What the simulator accepts by default; there is nothing to protect."""
LATCH_FILE = "vbrokers_latch.json"


class Access:
    """The credentials of one connect(), and what the broker said to them."""

    def __init__(self, settings: Settings, folder: Path, clock: Clock, log: Callable[[str], None]) -> None:
        self._settings = settings
        self._log = log
        self._latch = LoginLatch(folder / LATCH_FILE, clock)
        self._memory = settings.memory
        self._place = f"{settings.host}:{settings.port}"
        """What the password is kept under: one Gateway serves one account."""
        self._password = Secret("")
        self._source = Source.TYPED
        self._storing: asyncio.Task[None] | None = None
        self._key = decode_key(settings.aes_key)

    async def find(self) -> list[str]:
        """Find the password; return every text that must not be seen. Raises :class:`CredentialsError`."""
        settings = self._settings
        if settings.embedded:
            self._password = Secret(EMBEDDED_PASSWORD)
        else:
            self._password, self._source = await find_password(
                KEYCHAIN_SERVICE, self._place, settings.password, PASSWORD_VARIABLE, memory=self._memory
            )
        return [self._password.reveal(), settings.aes_key, self.cipher()]

    def cipher(self) -> str:
        """Return the password as the wire wants it (reference "vbrokers-openapi", section 3.1)."""
        return encrypt_password(self._password.reveal(), self._key)

    def may_try(self, by_person: bool) -> bool:
        """Tell whether these settings may be tried: not if they were refused before, unless a person asks."""
        if by_person:
            self._open()
            return True
        shut = self._latch.closed(self._parts())
        if self._latch.problem:
            self._log(self._latch.problem)
        if shut:
            self._log(_("上次登录被拒绝，为避免账户被锁定不再自动重试；{}").format(self._remedy()))
        return not shut

    def accepted(self) -> None:
        """The broker let us in: whatever was refused before is history, and a typed password goes to the keychain."""
        self._open()
        if self._memory.get(self._place) == self._password and self._storing is None and not self._settings.embedded:
            # Held, since the loop keeps no task alive by itself.
            self._storing = asyncio.get_running_loop().create_task(self._store(), name="keychain")

    async def _store(self) -> None:
        stored, line = await store_password(KEYCHAIN_SERVICE, self._place, self._password, PASSWORD_VARIABLE)
        if stored:
            self._memory.forget(self._place)
        elif not self._memory.told:
            self._memory.told = True
            self._log(line)

    def refused(self, error: BrokerError) -> None:
        """The broker refused: these settings are not tried again by themselves, also not after a restart."""
        try:
            self._latch.shut(self._parts())
        except OSError as problem:
            self._log(_("无法写入{}（{}），重启后会再次尝试登录").format(LATCH_FILE, problem.strerror))
        self._memory.forget(self._place)
        self._log(_("交易登录被拒绝（{}），不再重试以免账户被锁定；{}").format(error.text, self._remedy()))

    def _remedy(self) -> str:
        """What a person does about a refused password: it depends on where it came from."""
        if self._source is Source.KEYCHAIN:
            return _("密码来自系统钥匙串，可能已过期：请在连接窗口的“交易密码”中填写新密码（或核对“AES密钥”）再连接")
        if self._source is Source.ENVIRONMENT:
            text = _("密码来自环境变量{}：请改正它，或在连接窗口的“交易密码”中填写新密码（或核对“AES密钥”）后重新连接")
            return text.format(PASSWORD_VARIABLE)
        return _("请在连接窗口中重新填写“交易密码”（或核对“AES密钥”）后重新连接")

    def _open(self) -> None:
        try:
            self._latch.open()
        except OSError as problem:
            self._log(_("无法删除{}（{}），请手动删除").format(LATCH_FILE, problem.strerror))

    def _parts(self) -> dict[str, str | Secret]:
        settings = self._settings
        return {
            "environment": settings.environment,
            "host": settings.host,
            "port": str(settings.port),
            "password": self._password,
            "key": Secret(settings.aes_key),
        }
