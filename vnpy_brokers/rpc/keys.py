"""Keys for RPC beyond this machine: ``python -m vnpy_brokers.rpc.keys FOLDER [CLIENT ...]``.

Makes the server's pair, if there is none in FOLDER, and one for each CLIENT (without any: ``client``)::

    FOLDER/server.key               the server's public key, for every client
    FOLDER/server.key_secret        stays on the server
    FOLDER/clients/NAME.key         who may connect: take a file away, and its client may no more
    FOLDER/NAME.key_secret          is brought to the client's machine, and deleted here

All are CURVE keys (Curve25519) in ZeroMQ's own text format, so that other tools of ZeroMQ read them; the folder and the
secret files are their owner's alone.
"""

from __future__ import annotations

import os
import re
import struct
import sys
from collections.abc import Sequence
from pathlib import Path

import zmq
import zmq.utils.z85

from vnpy_brokerkit.errors import CredentialsError
from vnpy_brokerkit.files import write_private
from vnpy_brokerkit.i18n import _

from .sockets import Curve
from .zap import FOLDER

COMMAND = "python -m vnpy_brokers.rpc.keys"
SERVER = "server"
PUBLIC, SECRET = ".key", ".key_secret"
_KEY = re.compile(r'^\s*(?P<which>public|secret)-key\s*=\s*"(?P<key>[^"\s]{40})"\s*$', re.MULTILINE)
_NAME = re.compile(r"[\w-]{1,64}")
_Z85 = re.compile(r"[0-9a-zA-Z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


def is_key(text: str) -> bool:
    """Whether a text has the form of a key: 40 characters of Z85 that stand for 32 bytes."""
    if _Z85.fullmatch(text) is None:
        return False
    try:
        zmq.utils.z85.decode(text)
    except struct.error:  # five characters have more values than four bytes
        return False
    return True


def read_public_key(file: Path) -> str:
    """The public key in a file. Raises OSError, or ValueError where there is none."""
    return _read(file)["public"]


def read_pair(file: Path) -> tuple[str, str]:
    """Public and secret key in a ``.key_secret`` file. Raises OSError, or ValueError where one is missing."""
    found = _read(file)
    if "secret" not in found:
        raise ValueError("no secret key")
    return found["public"], found["secret"]


def _read(file: Path) -> dict[str, str]:
    text = file.read_text(encoding="utf-8")
    found = {match["which"]: match["key"] for match in _KEY.finditer(text) if is_key(match["key"])}
    if "public" not in found:
        raise ValueError("no key")
    return found


def server_curve(folder: Path) -> Curve:
    """The server's keys. Raises :class:`CredentialsError` with the command that makes them."""
    file = folder / f"{SERVER}{SECRET}"
    try:
        return Curve(*read_pair(file))
    except (OSError, ValueError):
        text = _("密钥目录{}里没有服务器密钥；请先运行 {} {}")
        raise CredentialsError(text.format(folder, COMMAND, folder), about=str(file)) from None


def client_curve(server_key: str, secret: str) -> Curve | None:
    """A client's keys from what was typed: the server's public key, and our secret one or the file that it stands in.

    None where neither was given: a server on this machine needs none. Raises :class:`CredentialsError`.
    """
    if not server_key and not secret:
        return None
    if not is_key(server_key):
        raise CredentialsError(_("“服务器公钥”应为40个字符，见服务器密钥目录里的 server.key"), about="服务器公钥")
    try:
        if is_key(secret):
            return Curve(zmq.curve_public(secret.encode()).decode(), secret, server_key)
        return Curve(*read_pair(Path(secret).expanduser()), server_key)
    except (OSError, ValueError, zmq.ZMQError):
        text = _("“客户端密钥”应为40个字符的密钥，或 .key_secret 文件的路径；请在服务器上运行 {} 生成")
        raise CredentialsError(text.format(COMMAND), about="客户端密钥") from None


def make_keys(folder: Path, clients: Sequence[str]) -> list[Path]:
    """Make what is missing, and return the files that were made. Nothing that is there is changed. Raises OSError."""
    made: list[Path] = []
    for directory in (folder, folder / FOLDER):
        directory.mkdir(parents=True, exist_ok=True)
        if os.name != "nt":
            directory.chmod(0o700)
    places = [(folder / f"{SERVER}{PUBLIC}", folder / f"{SERVER}{SECRET}")]
    places += [(folder / FOLDER / f"{name}{PUBLIC}", folder / f"{name}{SECRET}") for name in clients]
    for public_file, secret_file in places:
        if public_file.exists() or secret_file.exists():
            continue
        public, secret = (key.decode() for key in zmq.curve_keypair())
        head = "#   ZeroMQ CURVE, vnpy_brokers.rpc.keys\n"
        body = f'metadata\ncurve\n    public-key = "{public}"\n'
        write_private(secret_file, f'{head}{body}    secret-key = "{secret}"\n'.encode())
        write_private(public_file, f"{head}{body}".encode())
        made += [public_file, secret_file]
    return made


def main(argv: Sequence[str]) -> int:
    """The command. Returns 0, or 2 with one line where it can't be carried out."""
    write = sys.stdout.write
    if not argv or any(argument.startswith("-") for argument in argv):
        write(_("用法：{} 目录 [客户端名 ...]").format(COMMAND) + "\n")
        return 0 if argv and argv[0] in ("-h", "--help") else 2
    folder, clients = Path(argv[0]).expanduser().absolute(), list(argv[1:]) or ["client"]
    odd = [name for name in clients if not _NAME.fullmatch(name) or name == SERVER]
    if odd:
        sys.stderr.write(_("客户端名只能是字母、数字、_ 和 -：{}").format(", ".join(odd)) + "\n")
        return 2
    try:
        made = make_keys(folder, clients)
        public = read_public_key(folder / f"{SERVER}{PUBLIC}")
    except (OSError, ValueError) as error:
        sys.stderr.write(_("无法在{}生成密钥：{}").format(folder, error) + "\n")
        return 2
    for file in made:
        write(_("已生成 {}").format(file) + "\n")
    write(_("服务器公钥：{}").format(public) + "\n")
    start = f"python run.py --no-gui --rpc --keys {folder} --rep tcp://*:2014 --pub tcp://*:4102"
    write(_("启动服务器：{}").format(start) + "\n")
    write(_("把 名称.key_secret 安全地带到客户端，填入“客户端密钥”（路径即可），然后从本机删除") + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
