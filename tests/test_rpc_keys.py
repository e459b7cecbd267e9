"""Who may connect beyond this machine: keys, no keys, wrong keys, garbage; and a network of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import zmq
from vnpy.trader.constant import Direction, Status

from tests.rpc_children import ClientProcess, ServerProcess, free_ports, until
from tests.rpc_desk import FREE, IBM, TENCENT, Client, Server, simulated
from vnpy_brokerkit.errors import CredentialsError, InvalidRequest
from vnpy_brokers.rpc import keys
from vnpy_brokers.rpc.gateway import REPLY_KEY, SECRET_KEY, SECRET_VARIABLE, SERVER_KEY
from vnpy_brokers.rpc.server import RpcServerEngine


@contextmanager
def guarded(folder: Path) -> Iterator[tuple[Server, dict[str, Any]]]:
    """A server that wants keys, and the settings of a client that has one."""
    keys.make_keys(folder, ["desk"])
    with simulated() as sim:
        server = Server(sim, keys=folder)
        try:
            server.connect()
            secret = str(folder / "desk.key_secret")
            yield server, {**server.setting, SERVER_KEY: keys.server_curve(folder).public, SECRET_KEY: secret}
        finally:
            server.close()


def lines(server: Server, text: str) -> list[str]:
    return [line for line in server.seen.log_lines() if text in line]


def test_a_client_with_a_key_trades_and_others_are_refused_in_one_line(tmp_path: Path) -> None:
    keys.make_keys(tmp_path / "other", ["stranger"])
    stranger = str(tmp_path / "other" / "stranger.key_secret")
    wrong_server = keys.server_curve(tmp_path / "other").public
    with guarded(tmp_path / "keys") as (server, setting), ExitStack() as stack:
        refused = {
            "no key": {**setting, SERVER_KEY: "", SECRET_KEY: ""},
            "an unknown key": {**setting, SECRET_KEY: stranger},
            "another server's key": {**setting, SERVER_KEY: wrong_server},
        }
        strangers = {}
        for what, its_setting in refused.items():
            client = strangers[what] = Client(("VBROKERS",))
            stack.callback(client.close)
            client.connect(its_setting, wait=False)
        good = Client()
        stack.callback(good.close)
        good.connect(setting)
        good.subscribe(IBM, "VBROKERS")
        bought = good.send("IBKR", IBM, Direction.LONG, 5, round(good.wait_tick(IBM).last_price * 1.02, 2))
        good.wait_status(bought, Status.ALLTRADED)
        words = {"no key": "需要密钥", "an unknown key": "拒绝了本客户端的密钥", "another server's key": "“服务器公钥”"}
        for what, client in strangers.items():
            client.wait(lambda: any(words[what] in line for line in client.seen.log_lines()), what)  # noqa: B023  asked at once
            refused_order = client.send("VBROKERS", IBM, Direction.LONG, 5, 1.0)
            client.wait_status(refused_order, Status.REJECTED)
            assert not client.gateways["VBROKERS"].connected
            assert sum(setting[REPLY_KEY] in line for line in client.seen.log_lines()) == 1  # and no other of the link
        server.seen.wait(lambda: lines(server, "未经授权") and lines(server, "对方没有密钥"), "the server's lines")
        server.sim.pause()
        good.wait_equal(server.sim)
        assert (len(lines(server, "未经授权")), len(lines(server, "对方没有密钥"))) == (1, 1)
        # Let in by putting its public key there; nothing is restarted.
        shutil.copy(tmp_path / "other" / "clients" / "stranger.key", tmp_path / "keys" / "clients")
        client = strangers["an unknown key"]
        client.wait(lambda: client.gateways["VBROKERS"].connected, "the stranger let in")


def test_a_key_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with guarded(tmp_path) as (_server, setting), ExitStack() as stack:
        monkeypatch.setenv(SECRET_VARIABLE, keys.read_pair(tmp_path / "desk.key_secret")[1])
        client = Client(("VBROKERS",))
        stack.callback(client.close)
        client.connect({**setting, SECRET_KEY: ""})


def test_beyond_this_machine_only_with_keys(tmp_path: Path) -> None:
    with simulated() as sim:
        server = Server(sim)
        try:
            other = server.main.add_engine(RpcServerEngine)
            for address in ("tcp://*:5", "tcp://0.0.0.0:5", "tcp://192.0.2.1:5", "tcp://some.name:5"):
                for reply, publish in ((address, FREE), (FREE, address)):
                    with pytest.raises(InvalidRequest, match=keys.COMMAND):
                        other.start(reply, publish)
            with pytest.raises(CredentialsError, match=keys.COMMAND):
                other.start("tcp://*:5", FREE, tmp_path)
            keys.make_keys(tmp_path, [])
            other.start("tcp://*:*", "tcp://*:*", tmp_path)
            other.close()
        finally:
            server.close()


def _throw(address: str, data: bytes) -> None:
    parts = urlsplit(address)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), 5) as made:
        try:
            made.sendall(data)
            made.settimeout(0.05)
            made.recv(64)
        except OSError:  # it hung up, as it should
            return


@pytest.mark.parametrize("guard", [True, False], ids=["with keys", "without"])
def test_garbage_on_both_ports_harms_nobody(guard: bool, tmp_path: Path) -> None:
    keys.make_keys(tmp_path, ["desk"])
    with ExitStack() as stack:
        sim = stack.enter_context(simulated())
        server = Server(sim, keys=tmp_path if guard else None)
        stack.callback(server.close)
        server.connect()
        setting = dict(server.setting)
        if guard:
            setting |= {SERVER_KEY: keys.server_curve(tmp_path).public, SECRET_KEY: str(tmp_path / "desk.key_secret")}
        client = Client()
        stack.callback(client.close)
        client.connect(setting)
        client.subscribe(IBM, "VBROKERS")
        client.wait_tick(IBM)
        greeting = b"\xff" + b"\0" * 8 + b"\x7f\x03\x00NULL" + b"\0" * 48
        for address in (server.rpc.reply_address, server.rpc.publish_address):
            for data in (
                secrets.token_bytes(4096), b"GET / HTTP/1.1\r\n\r\n", b"", b"\0" * 5000, greeting,
                greeting + secrets.token_bytes(2000),
                greeting + b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\4DEAL" + b"\xff" * 64,
                b"\xff" + b"\xff" * 200,
            ):  # fmt: skip
                _throw(address, data)
        if not guard:
            with zmq.Context() as context, context.socket(zmq.SUB) as odd:
                odd.linger = 0
                odd.connect(server.rpc.publish_address)
                for topic in (b"T" + b"x" * 5000, b"X", b"T", b"S" * 300, b"\0\xff", b"vnpy", b"heartbeat"):
                    odd.setsockopt(zmq.SUBSCRIBE, topic)
                assert not odd.poll(1500)
        bought = client.send("IBKR", IBM, Direction.LONG, 5, round(client.wait_tick(IBM).last_price * 1.02, 2))
        client.wait_status(bought, Status.ALLTRADED)
        sim.pause()
        client.wait_equal(sim)
        assert len(lines(server, "RPC拒绝了一个连接")) <= 2
        assert len(lines(server, "无法识别")) <= 1
        assert client.gateways["IBKR"]._link is not None


# ---------------------------------------------------------------------- networks of their own

HERE, THERE = "10.213.77.1", "10.213.77.2"


@contextmanager
def namespace() -> Iterator[list[str]]:
    """A network namespace that reaches ours at HERE; gives the words before a command in it. Skips where forbidden."""
    if os.name == "nt" or shutil.which("ip") is None:
        pytest.skip("network namespaces need Linux and the ip command")
    name = f"rpc{os.getpid()}"
    outer, inner = f"{name}a"[-15:], f"{name}b"[-15:]
    steps = [
        ["ip", "netns", "add", name],
        ["ip", "link", "add", outer, "type", "veth", "peer", "name", inner],
        ["ip", "link", "set", inner, "netns", name],
        ["ip", "addr", "add", f"{HERE}/24", "dev", outer],
        ["ip", "link", "set", outer, "up"],
        ["ip", "netns", "exec", name, "ip", "addr", "add", f"{THERE}/24", "dev", inner],
        ["ip", "netns", "exec", name, "ip", "link", "set", inner, "up"],
        ["ip", "netns", "exec", name, "ip", "link", "set", "lo", "up"],
    ]
    try:
        for step in steps:
            result = subprocess.run(step, capture_output=True, text=True, timeout=20)
            if result.returncode:
                pytest.skip(f"no network namespace: {' '.join(step)}: {result.stderr.strip()}")
        yield ["ip", "netns", "exec", name]
    finally:
        subprocess.run(["ip", "link", "del", outer], capture_output=True, timeout=20)
        subprocess.run(["ip", "netns", "del", name], capture_output=True, timeout=20)


def test_a_client_in_another_network(tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    keys.make_keys(folder, ["a", "b"])
    with namespace() as prefix, ExitStack() as stack:
        sim = stack.enter_context(simulated())
        ports = free_ports(2)
        server = ServerProcess(sim, tmp_path / "server", (ports[0], ports[1]), "--keys", str(folder), host=HERE)
        stack.callback(server.end)
        setting = {**server.setting, SERVER_KEY: keys.server_curve(folder).public}
        clients = [ClientProcess(tmp_path / name, prefix=prefix) for name in ("a", "b")]
        for client in clients:
            stack.callback(client.end)
        server.wait_ready()
        for client, name in zip(clients, ("a", "b"), strict=True):
            client.connect({**setting, SECRET_KEY: str(folder / f"{name}.key_secret")})
            client.do("subscribe", vt_symbol=TENCENT, name="IBKR")
        for client in clients:
            until(lambda: client.do("ticks", vt_symbol=TENCENT)["ticks"], "ticks")  # noqa: B023  asked at once
        price = round(clients[0].do("ticks", vt_symbol=TENCENT)["ticks"][-1][1] * 1.03)
        for client, name in zip(clients, ("IBKR", "VBROKERS"), strict=True):
            client.wait_order(client.send(name, TENCENT, "LONG", 100, price), "ALLTRADED")
        stranger = ClientProcess(tmp_path / "stranger", prefix=prefix)
        stack.callback(stranger.end)
        stranger.do("connect", setting=setting, wait=False)
        stranger.wait_order(stranger.send("IBKR", TENCENT, "LONG", 100, price), "REJECTED")
        sim.pause()
        for client in clients:
            client.wait_equal(sim)
            assert client.do("ticks", vt_symbol=TENCENT)["missed"] == 0
