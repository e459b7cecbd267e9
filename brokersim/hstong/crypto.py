"""The Gateway's side of the password cipher: AES-192, ECB, PKCS7, Base64 (vbrokers-openapi 3.1)."""

from __future__ import annotations

import base64
import binascii

from Crypto.Cipher import AES
from Crypto.Util.Padding import unpad

DEFAULT_KEY = "m+qS04/2CH1OweCnmXZ3TDZkCQS+hBzY"
"""The protocol's fixed key, Base64 of 24 bytes."""


def decrypt(cipher_text: str, key: str = DEFAULT_KEY) -> str | None:
    """The password in ``cipher_text``, or None when it is no cipher text of this key."""
    try:
        cipher_bytes = base64.b64decode(cipher_text, validate=True)
        plain = AES.new(base64.b64decode(key), AES.MODE_ECB).decrypt(cipher_bytes)
        return unpad(plain, AES.block_size, style="pkcs7").decode("utf-8")
    except (binascii.Error, ValueError):  # not Base64, not whole blocks, wrong padding, not UTF-8
        return None
