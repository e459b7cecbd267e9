"""The password's cipher against the reference's known answers, and that no error gives a secret away."""

from __future__ import annotations

import base64

import pytest

from vnpy_brokerkit.errors import CredentialsError
from vnpy_vbrokers.wire.crypto import DEFAULT_KEY, decode_key, encrypt_password


def test_the_default_key_is_the_documented_one() -> None:
    assert decode_key(DEFAULT_KEY).hex() == "9bea92d38ff6087d4ec1e0a79976774c36640904be841cd8"
    assert decode_key(f" {DEFAULT_KEY}\n") == decode_key(DEFAULT_KEY)


@pytest.mark.parametrize(
    ("password", "cipher"),
    [
        ("123456", "W1U8iZIppSE+mBMtzy9vZQ=="),
        ("888888", "iw4dgwnqKwrMFugTb+ZcuA=="),
        ("Abc@1234", "pEDHgrWZ1r4zeAbNA8Uajg=="),
        ("1234567890123456", "BNm1Bhq2tCp+OHwEyJ7YLaEzkrWZG8OOwpN5Cdw/UcA="),
    ],
)
def test_known_answers(password: str, cipher: str) -> None:
    assert encrypt_password(password, decode_key(DEFAULT_KEY)) == cipher


def test_a_long_password_has_no_line_breaks() -> None:
    cipher = encrypt_password("密" * 200, decode_key(DEFAULT_KEY))
    assert "\n" not in cipher
    assert len(base64.b64decode(cipher)) == 608


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not base64 at all",
        "钥匙" * 16,
        DEFAULT_KEY[:-1],
        DEFAULT_KEY + "\x00",
        base64.b64encode(b"k" * 16).decode(),
        base64.b64encode(b"k" * 32).decode(),
    ],
)
def test_a_key_that_is_none_is_refused_without_naming_it(text: str) -> None:
    with pytest.raises(CredentialsError) as caught:
        decode_key(text)
    assert caught.value.__context__ is None
    assert not text or text not in repr(caught.value)


def test_a_password_that_cannot_be_sent_is_refused_without_naming_it() -> None:
    with pytest.raises(CredentialsError):
        encrypt_password("", decode_key(DEFAULT_KEY))
    with pytest.raises(CredentialsError) as caught:
        encrypt_password("secret\udc80", decode_key(DEFAULT_KEY))
    assert caught.value.__context__ is None
    assert "secret" not in repr(caught.value)


def test_a_short_key_is_refused() -> None:
    with pytest.raises(CredentialsError):
        encrypt_password("123456", b"k" * 16)
