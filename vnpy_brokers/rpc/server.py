"""The server: an engine of vn.py's that serves its gateways to other processes.

Three threads beside vn.py's: the front, which takes questions and sends answers and waits for nothing; workers for what
takes time; with keys, the gatekeeper. News goes out from vn.py's event thread (:mod:`.publisher`).
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path

import zmq
from vnpy.event import EventEngine
from vnpy.trader.engine import BaseEngine, MainEngine

from vnpy_brokerkit.async_gateway import database_zone
from vnpy_brokerkit.errors import BrokerError, ConnectionFailed, InvalidRequest
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.timing import Timing

from .addresses import PUBLISH_ADDRESS, REPLY_ADDRESS, Address, parse_address
from .codec import Codec
from .desk import Desk
from .front import Front
from .keys import COMMAND, server_curve
from .legacy import PlainDesk
from .publisher import Publisher
from .sockets import Curve, make_socket
from .zap import Gatekeeper

ENGINE_NAME = "BrokersRpc"
END_S = 2.0


@dataclass
class _Running:
    """What is there while it serves."""

    context: zmq.Context[zmq.Socket[bytes]]
    published: zmq.Socket[bytes]
    front: Front
    desk: Desk
    gatekeeper: Gatekeeper | None


class RpcServerEngine(BaseEngine):
    """Serves the gateways of ``main_engine``; ``main_engine.add_engine(RpcServerEngine).start()``."""

    def __init__(self, main_engine: MainEngine, event_engine: EventEngine) -> None:
        super().__init__(main_engine, event_engine, ENGINE_NAME)
        self.timing = Timing()
        self.reply_address = ""
        """Where questions are answered, once it serves."""
        self.publish_address = ""
        """Where news is published, once it serves."""
        self._running: _Running | None = None

    def start(self, reply: str = REPLY_ADDRESS, publish: str = PUBLISH_ADDRESS, keys: Path | None = None) -> None:
        """Serve at these addresses; port ``*`` takes a free one. With ``keys`` (a folder that
        ``python -m vnpy_brokers.rpc.keys`` made) only clients that have one are served, without it only this machine.

        Raises :class:`InvalidRequest`, :class:`CredentialsError` or :class:`ConnectionFailed`, each in one line.
        """
        if self._running:
            raise InvalidRequest(_("RPC服务已在运行"))
        ends = [parse_address(text, listening=True) for text in (reply, publish)]
        if keys is None:
            for end in ends:
                if not end.is_loopback:
                    text = _("{}不是本机地址，没有密钥不能提供RPC服务；请先运行 {} 目录，再加上 --keys 目录")
                    raise InvalidRequest(text.format(end.text, COMMAND), about=end.text)
        curve = server_curve(keys) if keys else None
        context = zmq.Context()
        gatekeeper = None
        try:
            if keys:
                gatekeeper = Gatekeeper(context, keys)
                gatekeeper.start()
            replies = self._bound(context, zmq.ROUTER, ends[0], curve)
            published = self._bound(context, zmq.XPUB, ends[1], curve)
        except BrokerError:
            if gatekeeper:
                gatekeeper.end()
            context.destroy(0)
            raise
        self.reply_address = replies.getsockopt_string(zmq.LAST_ENDPOINT)
        self.publish_address = published.getsockopt_string(zmq.LAST_ENDPOINT)
        self._running = self._serve(context, replies, published, gatekeeper)
        self.main_engine.write_log(
            _("RPC服务已在 {} 和 {} 启动（{}）").format(
                self.reply_address, self.publish_address, _("只接受有密钥的客户端") if keys else _("只接受本机的客户端")
            ),
            ENGINE_NAME,
        )

    def close(self) -> None:
        """Serve no more. vn.py calls it when its event engine has stopped; a second time is harmless."""
        running, self._running = self._running, None
        if running is None:
            return
        running.desk.end()
        running.front.end(END_S)
        running.published.close(0)
        if running.gatekeeper:
            running.gatekeeper.end()
        running.context.destroy(0)

    def _bound(
        self, context: zmq.Context[zmq.Socket[bytes]], kind: int, end: Address, curve: Curve | None
    ) -> zmq.Socket[bytes]:
        made = make_socket(context, kind, curve, end.text)
        try:
            made.bind(end.text)
        except zmq.ZMQError as error:
            made.close(0)
            text = _("RPC服务无法在{}启动（{}），端口可能被占用：请关闭占用它的程序，或换一个地址")
            raise ConnectionFailed(text.format(end.text, error.strerror), about=end.text) from None
        return made

    def _serve(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        replies: zmq.Socket[bytes],
        published: zmq.Socket[bytes],
        gatekeeper: Gatekeeper | None,
    ) -> _Running:
        def log(line: str) -> None:
            self.main_engine.write_log(line, ENGINE_NAME)

        zone = database_zone()
        codec = Codec(zone)
        plain: PlainDesk | None = None
        publisher = Publisher(
            self.main_engine,
            published,
            codec,
            secrets.randbits(48),
            on_plain_subscriber=lambda there: plain.on_subscriber(there) if plain else None,
            admits_plain=gatekeeper is None,
        )
        desk = Desk(self.main_engine, publisher, codec, zone, self.timing)
        if gatekeeper is None:
            plain = PlainDesk(self.main_engine, desk.snapshots, desk.histories, lambda *told: front.tell(*told))
            plain.publisher = publisher
        front = Front(
            replies,
            published,
            handle=desk.handle,
            handle_plain=plain.handle if plain else None,
            every_turn=desk.every_turn,
            log=log,
        )
        desk.post = front.post
        publisher.register()
        front.start()
        return _Running(context, published, front, desk, gatekeeper)
