"""vn.py's database zone against the one that the process lives in.

vnpy_sqlite stores times without a zone, in vn.py's database zone (``database.timezone``), and reads them back by the
process's own: ``datetime.fromtimestamp(stored.timestamp(), DB_TZ)`` (vnpy_sqlite 1.1.3). Where the two differ, what is
stored is right and every bar that is read is shifted by the difference. The gateways' own times are right in any case.
"""

from __future__ import annotations

import os
from datetime import datetime, timedelta, timezone, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from tzlocal import get_localzone_name

from vnpy_brokerkit.i18n import _

from .refusal import Refusal

# Two names may mean the same clock (PRC, Asia/Shanghai). Two years by fortnights see every daylight saving rule.
COMPARED_DAYS = range(0, 2 * 366, 14)


def start_warning(database_zone: str, now: datetime) -> str | None:
    """One line when this process reads vn.py's database in another zone than ``database_zone``, else None.

    What counts is the C library's clock, since ``timestamp()`` of a time without a zone asks that one. It need not be
    the zone that vn.py takes the system's to be: the library does not say so when it does not know the name in ``TZ``
    (a typing mistake, a container without tzdata, Windows), and counts in UTC.
    ``now`` is aware. Raises `Refusal` when ``database_zone`` names no zone.
    """
    database = _zone(database_zone)
    if _same_clock(database, None, now):
        return None
    system_zone = get_localzone_name()
    if _same_clock(ZoneInfo(system_zone), None, now):
        return zone_warning(database_zone, system_zone, now)
    text = _("进程按 UTC{} 计时（系统不认识时区 {}），与 vn.py 数据库时区 {} 不同，K 线会偏移：请改正 TZ 或安装 tzdata")
    return text.format(f"{now.astimezone():%z}", os.environ.get("TZ") or system_zone, database_zone)


def zone_warning(database_zone: str, system_zone: str, now: datetime) -> str | None:
    """One line when the two zones' clocks differ somewhere in the two years before `now` (aware), else None.

    vnpy_sqlite stores naive local times: with different zones the bars that it hands back are shifted.
    Raises `Refusal` when vn.py's setting names no zone.
    """
    if _same_clock(_zone(database_zone), ZoneInfo(system_zone), now):
        return None
    text = _("vn.py 数据库时区 {} 与系统时区 {} 不同，K 线会偏移：请在 vt_setting.json 把 database.timezone 改为 {}")
    return text.format(database_zone, system_zone, system_zone)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = _("vt_setting.json 的 database.timezone 不是有效时区：{}，请改为例如 Asia/Shanghai")
        raise Refusal(text.format(name)) from None


def _same_clock(one: tzinfo, other: tzinfo | None, now: datetime) -> bool:
    """Compare by offsets, over the days; None is the process's own clock."""
    days = [now.astimezone(timezone.utc) - timedelta(days=days) for days in COMPARED_DAYS]
    return all(day.astimezone(one).utcoffset() == day.astimezone(other).utcoffset() for day in days)
