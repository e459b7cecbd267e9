"""Passwords: the order of their sources, a keychain that hangs or is missing, and what is never shown."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vnpy_brokerkit.credentials import MASK, Keychain, Memory, Secret, Source, find_password, mask, store_password
from vnpy_brokerkit.errors import CredentialsError

ROOT = Path(__file__).resolve().parent.parent
ENV = "VNPY_TEST_PASSWORD"
WORD = "pw-8#中"


class DictKeychain:
    def __init__(self) -> None:
        self.held: dict[tuple[str, str], str] = {}
        self.writes = 0

    def get_password(self, service: str, username: str) -> str | None:
        return self.held.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.writes += 1
        self.held[service, username] = password


class NullKeychain(DictKeychain):
    """Swallows what it gets, as keyring's own null backend does."""

    def set_password(self, service: str, username: str, password: str) -> None:
        self.writes += 1


class MissingKeychain:
    """Raises as keyring does without a backend, with the password in its text."""

    def get_password(self, service: str, username: str) -> str | None:
        raise RuntimeError("No recommended backend was available")

    def set_password(self, service: str, username: str, password: str) -> None:
        raise AssertionError("must not be reached")


class LoudKeychain(DictKeychain):
    def set_password(self, service: str, username: str, password: str) -> None:
        raise RuntimeError(f"cannot store {password!r}")


class HangingKeychain:
    def __init__(self) -> None:
        self.asked = threading.Event()
        self.released = threading.Event()
        self.calls = 0

    def get_password(self, service: str, username: str) -> str | None:
        self.calls += 1
        self.asked.set()
        self.released.wait(30)
        return WORD

    def set_password(self, service: str, username: str, password: str) -> None:
        self.released.wait(30)


@pytest.fixture
def hanging() -> Iterator[HangingKeychain]:
    keychain = HangingKeychain()
    yield keychain
    keychain.released.set()
    for thread in threading.enumerate():
        if thread.name == "keychain":
            thread.join(5)


@pytest.fixture(autouse=True)
def _no_password_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENV, raising=False)


def find(keychain: Keychain, typed: str = "", timeout: float = 5.0) -> Secret:
    return asyncio.run(find_password("VBROKERS", "1", typed, ENV, timeout=timeout, keyring_backend=keychain)).password


def source(keychain: Keychain, typed: str = "", memory: Memory | None = None) -> tuple[str, Source]:
    found = asyncio.run(find_password("VBROKERS", "1", typed, ENV, memory=memory, keyring_backend=keychain))
    return found.password.reveal(), found.source


def store(keychain: Keychain, timeout: float = 5.0) -> tuple[bool, str]:
    return asyncio.run(store_password("VBROKERS", "1", Secret(WORD), ENV, timeout=timeout, keyring_backend=keychain))


def test_typed_comes_before_keychain_before_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, "from the environment")
    keychain = DictKeychain()
    assert find(keychain).reveal() == "from the environment"
    keychain.held["VBROKERS", "1"] = "from the keychain"
    assert find(keychain).reveal() == "from the keychain"
    assert find(keychain, "typed").reveal() == "typed"
    assert find(keychain, " ").reveal() == "from the keychain"


def test_what_was_typed_and_is_in_no_keychain_stays_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, "from the environment")
    keychain, memory = DictKeychain(), Memory()
    keychain.held["VBROKERS", "1"] = "from the keychain"
    assert source(keychain, memory=memory) == ("from the keychain", Source.KEYCHAIN)
    assert source(keychain, "typed", memory) == ("typed", Source.TYPED)
    assert source(keychain, memory=memory) == ("typed", Source.MEMORY)
    assert source(keychain, memory=Memory()) == ("from the keychain", Source.KEYCHAIN)
    memory.forget("1")
    memory.forget("1")
    keychain.held.clear()
    assert source(keychain, memory=memory) == ("from the environment", Source.ENVIRONMENT)


def test_the_memory_shows_no_password() -> None:
    memory = Memory()
    memory.keep("1", Secret(WORD))
    assert WORD not in f"{memory!r} {memory} {vars(memory)}"
    with pytest.raises(TypeError):
        pickle.dumps(memory)


def test_a_typed_password_asks_no_keychain(hanging: HangingKeychain) -> None:
    assert find(hanging, WORD).reveal() == WORD
    assert hanging.calls == 0


@pytest.mark.parametrize("keychain", [DictKeychain(), MissingKeychain()])
def test_no_password_names_the_setting_and_the_variable(keychain: Keychain) -> None:
    with pytest.raises(CredentialsError) as caught:
        find(keychain)
    assert "交易密码" in str(caught.value)
    assert ENV in str(caught.value)


def test_a_missing_keychain_leaves_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, WORD)
    assert find(MissingKeychain()).reveal() == WORD


def test_a_hanging_keychain_costs_its_timeout_once(hanging: HangingKeychain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ENV, WORD)
    assert find(hanging, timeout=0.05).reveal() == WORD
    began = time.monotonic()
    assert find(hanging, timeout=20).reveal() == WORD
    assert store(hanging, timeout=20)[0] is False
    assert time.monotonic() - began < 10
    assert hanging.calls == 1


def test_the_loop_runs_on_while_the_keychain_hangs(hanging: HangingKeychain) -> None:
    async def scenario() -> str:
        asked = asyncio.create_task(find_password("s", "a", "", ENV, keyring_backend=hanging))
        assert await asyncio.to_thread(hanging.asked.wait, 10)
        hanging.released.set()
        return (await asked).password.reveal()

    assert asyncio.run(scenario()) == WORD


def test_a_hanging_keychain_does_not_keep_the_process() -> None:
    program = f"""
import asyncio, threading
from vnpy_brokerkit.credentials import find_password
class Hanging:
    def get_password(self, service, username):
        threading.Event().wait()
try:
    asyncio.run(find_password("s", "a", "", {ENV!r}, timeout=0.05, keyring_backend=Hanging()))
except Exception as error:
    raise SystemExit(type(error).__name__)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, timeout=30, check=False)
    assert done.stderr.strip() == b"CredentialsError"


def test_store_then_find() -> None:
    keychain = DictKeychain()
    assert store(keychain) == (True, "")
    assert find(keychain) == Secret(WORD)
    assert store(keychain) == (True, "")
    assert keychain.writes == 1


@pytest.mark.parametrize("keychain", [MissingKeychain(), NullKeychain(), LoudKeychain()])
def test_what_cannot_be_stored_is_said_without_the_password(keychain: Keychain) -> None:
    stored, line = store(keychain)
    assert stored is False
    assert ENV in line
    assert WORD not in line


def test_the_installed_keyring_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import keyring

    keychain = DictKeychain()
    monkeypatch.setattr(keyring, "get_keyring", lambda: keychain)
    assert asyncio.run(store_password("s", "a", Secret(WORD), ENV)) == (True, "")
    assert keychain.held == {("s", "a"): WORD}
    assert asyncio.run(find_password("s", "a", "", ENV)).password.reveal() == WORD


def test_a_secret_shows_itself_to_nobody() -> None:
    secret = Secret(WORD)
    shown = [str(secret), repr(secret), f"{secret}", f"{secret:>20}", f"{secret!r}", "%s" % secret, f"{[secret]}"]  # noqa: UP031  # the old format is one way out too
    assert not [text for text in shown if WORD in text]
    assert secret.reveal() == WORD
    for copier in (pickle.dumps, copy.copy, copy.deepcopy, json.dumps):
        with pytest.raises(TypeError) as caught:
            copier(secret)
        assert WORD not in str(caught.value)


def test_secrets_compare_by_their_text() -> None:
    assert Secret(WORD) == Secret(WORD)
    assert Secret(WORD) != Secret("other")
    assert Secret(WORD) != WORD
    assert Secret("\udc80") == Secret("\udc80")


@given(secret=st.text(min_size=1).filter(lambda text: not set(text) & set(MASK)), before=st.text(), after=st.text())
@settings(max_examples=100, deadline=None)
def test_mask_takes_a_secret_out_of_any_text(secret: str, before: str, after: str) -> None:
    spelled = [secret, json.dumps(secret)[1:-1], repr(secret)[1:-1]]
    if secret.isprintable():
        spelled.append(urllib.parse.quote(secret, safe=""))
    for spelling in spelled:
        assert secret not in mask(f"{before}{spelling}{after}", Secret(secret))
        assert spelling not in mask(f"{before}|{spelling}|{after}", secret)


def test_mask_leaves_the_rest() -> None:
    assert mask("login abc failed: abcd", Secret("abcd"), "abc") == f"login {MASK} failed: {MASK}"
    assert mask("nothing to hide", Secret("")) == "nothing to hide"
