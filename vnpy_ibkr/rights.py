"""Whether orders may be sent: which account is traded, and what stands in the way (design, section 6)."""

from __future__ import annotations

from collections.abc import Callable

from vnpy_brokerkit.i18n import _

from .settings import Settings, interlock

CASH_KINDS = frozenset({"现金", "IRA"})
NO_SHORT_WORDS = ("IRA", "ROTH", "CASH")
"""In the broker's own name of an account's kind (tws-api 13)."""

SHOWN_ACCOUNTS = 6
"""An adviser's login may have hundreds: a line names so many."""


class Rights:
    """The trading account of one session. ``is_up`` and ``is_ready`` tell of the connection and of the engine."""

    def __init__(
        self,
        settings: Settings,
        *,
        is_up: Callable[[], bool],
        is_ready: Callable[[], bool],
        account_type: Callable[[str], str],
        log: Callable[[str], None],
    ) -> None:
        self._settings = settings
        self._is_up = is_up
        self._is_ready = is_ready
        self._account_type = account_type
        self._log = log
        self.account = settings.account
        """The account that is traded, ``""`` where none was chosen."""
        self._locked = ""
        """Why no order may be sent on this connection, for as long as it lasts."""

    def choose(self, accounts: list[str], port: int, *, tell: bool) -> None:
        """Blank and one account: that one; blank and several, or one not there: no orders.

        ``tell``: say in the log what was found, also where all is well.
        """
        settings = self._settings
        listed = _listed(accounts)
        self._locked = ""
        if settings.account and settings.account in accounts:
            self.account = settings.account
        elif settings.account:
            self.account = settings.account
            self._locked = _("交易账户{}不在TWS的账户列表（{}）中，只读连接；请修改“交易账户”").format(
                settings.account, listed
            )
        elif len(accounts) == 1 or (settings.embedded and accounts):
            self.account = accounts[0]
        else:
            self.account = ""
            self._locked = _("TWS有多个账户（{}），未指定“交易账户”，不能下单；请在连接设置中填写其中一个").format(
                listed
            )
        self._locked = self._locked or interlock(settings, accounts, port)
        if tell or self._locked:
            self._log(_("TWS连接成功（{}，端口{}，账户{}）").format(settings.environment, port, listed))
        if self._locked:
            self._log(self._locked)

    @property
    def locked(self) -> bool:
        """Whether the account, or which environment it belongs to, leaves this connection read-only."""
        return bool(self._locked)

    def can_short(self) -> bool:
        """Whether the account may sell short: the stricter of the setting and of the broker's own word wins."""
        if self._settings.account_kind in CASH_KINDS:
            return False
        kind = self._account_type(self.account).upper()
        return not any(word in kind for word in NO_SHORT_WORDS)

    def blocked(self) -> str:
        """Why nothing may be sent now, or ``""``."""
        if self._settings.read_only:
            return _("当前为只读连接，未发送；如需交易请将“只读”设为“否”后重新连接")
        if self._locked:
            return _("未发送：{}").format(self._locked)
        if not self._is_up():
            return _("与TWS或IB服务器的连接中断，未发送；恢复后请重新下单")
        if not self._is_ready():
            return _("连接尚未就绪，未发送；请等待连接完成")
        return ""


def _listed(accounts: list[str]) -> str:
    """Name the accounts, the first of them where there are many."""
    names = _("、").join(accounts[:SHOWN_ACCOUNTS])
    return names if len(accounts) <= SHOWN_ACCOUNTS else _("{}等{}个").format(names, len(accounts))
