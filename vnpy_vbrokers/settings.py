"""The connect dialog of VBROKERS: its keys, their defaults, and what they mean (design, section 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vnpy_brokerkit.credentials import Memory
from vnpy_brokerkit.settings import NO_YES, PASSWORD_KEYS, CommonSettings, Reader, common_setting, password_key

from .wire.crypto import DEFAULT_KEY, decode_key

ENVIRONMENTS = ("内置模拟", "测试环境", "实盘")
ENVIRONMENT2WORD = {"内置模拟": "embedded", "测试环境": "test", "实盘": "live"}
EMBEDDED = ENVIRONMENTS[0]

MARKETS2CODES: Mapping[str, tuple[str, ...]] = {
    "港股+美股": ("K", "P"),
    "港股+美股+A股通": ("K", "P", "t", "v"),
    "港股": ("K",),
    "美股": ("P",),
    "A股通": ("t", "v"),
}
HK_LIMITS = ("自动", "增强限价", "限价")
ODD_LOTS = ("拒绝", "碎股单")


def default_setting() -> dict[str, Any]:
    """Return the keys in the dialog's order; a list is a drop-down whose first item is the default."""
    return {
        "环境": list(ENVIRONMENTS),
        "地址": "127.0.0.1",
        "端口": 11111,
        "推送端口": 11112,
        password_key(): "",
        "AES密钥": DEFAULT_KEY,
        "市场": list(MARKETS2CODES),
        "盘前盘后": list(NO_YES),
        "港股限价单": list(HK_LIMITS),
        "碎股卖出": list(ODD_LOTS),
        **common_setting(),
    }


@dataclass(frozen=True)
class Settings(CommonSettings):
    """The values of one connect(), checked. The password and the key are kept out of ``repr``."""

    environment: str
    host: str
    port: int
    push_port: int
    password: str = field(repr=False)
    aes_key: str = field(repr=False)
    markets: tuple[str, ...]
    hk_limit: str
    odd_lots: bool
    unknown_keys: tuple[str, ...] = ()
    memory: Memory = field(default_factory=Memory, repr=False, compare=False)
    """The gateway's, which holds what was typed at an earlier connect()."""

    @property
    def embedded(self) -> bool:
        return self.environment == EMBEDDED

    @property
    def journal_word(self) -> str:
        """The environment's word in the name of the order journal."""
        return ENVIRONMENT2WORD[self.environment]

    @property
    def world(self) -> str:
        """What separates one broker's truth from another's: orders never travel between worlds."""
        return f"{self.environment}|{self.host}:{self.port}"


def read_settings(setting: Mapping[str, Any], environ: Mapping[str, str]) -> Settings:
    """Check a connect dialog's values. Raises :class:`InvalidRequest` or :class:`CredentialsError`, one clear line."""
    read = Reader(setting, default_setting())
    environment = read.choice("环境", ENVIRONMENTS)
    host = read.host("地址")
    port, push_port = read.port("端口"), read.port("推送端口")
    password = read.secret(*PASSWORD_KEYS)
    aes_key = read.text("AES密钥") or DEFAULT_KEY
    if environment != EMBEDDED and aes_key == DEFAULT_KEY:
        # The dialog always sends the key that it shows: a key in the environment beats the untouched default.
        aes_key = environ.get("VNPY_VBROKERS_AES_KEY") or aes_key
    decode_key(aes_key)
    market = read.choice("市场", tuple(MARKETS2CODES))
    return Settings(
        **vars(read.common()),
        environment=environment,
        host=host,
        port=port,
        push_port=push_port,
        password=password,
        aes_key=aes_key,
        markets=MARKETS2CODES[market],
        hk_limit=read.choice("港股限价单", HK_LIMITS),
        odd_lots=read.choice("碎股卖出", ODD_LOTS) == "碎股单",
        unknown_keys=tuple(read.unknown()),
    )
