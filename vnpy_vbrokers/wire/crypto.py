"""How the trading password travels (vbrokers-openapi 3.1): AES-192, ECB, PKCS7, Base64.

The key is a constant that every client knows, so this is a disguise and no protection. Neither password, cipher text
nor key may stand in a log line or an error: the errors below are raised outside the ``except`` blocks so that not even
their context holds one.
"""

from __future__ import annotations

import base64

from Crypto.Cipher import AES
from Crypto.Util.Padding import pad

from vnpy_brokerkit.errors import CredentialsError
from vnpy_brokerkit.i18n import _

KEY_BYTES = 24

DEFAULT_KEY = "m+qS04/2CH1OweCnmXZ3TDZkCQS+hBzY"
"""The protocol's own key, as Base64 text (vbrokers-openapi 3.1)."""


def decode_key(text: str) -> bytes:
    """Turn the setting's Base64 text into the 24 bytes of an AES-192 key; outer blanks do not matter.

    Raises CredentialsError when the text is not Base64 or has another length.
    """
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise CredentialsError(_("AES密钥不是{size}字节的Base64文本，请核对设置或恢复默认值").format(size=KEY_BYTES))
    return key


def encrypt_password(password: str, key: bytes) -> str:
    """Encrypt a trading password for ``TradeLogin``; ``key`` is what decode_key() gave.

    Raises CredentialsError when the password is empty or no text, or the key has the wrong length.
    """
    if len(key) != KEY_BYTES:
        raise CredentialsError(_("AES密钥长度须为{size}字节").format(size=KEY_BYTES))
    try:
        plain = password.encode("utf-8")
    except UnicodeEncodeError:
        plain = b""
    if not plain:
        raise CredentialsError(_("交易密码为空或含有无法编码的字符，请重新输入"))
    # ECB is what the Gateway speaks (see the module's head), not a choice made here.
    cipher = AES.new(key, AES.MODE_ECB).encrypt(pad(plain, AES.block_size))
    return base64.b64encode(cipher).decode("ascii")
