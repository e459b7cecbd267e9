"""vn.py's database zone against the system's."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from vnpy_brokerkit.i18n import _

from .refusal import Refusal

# Two names may mean the same clock (PRC, Asia/Shanghai). Two years by fortnights see every daylight saving rule.
COMPARED_DAYS = range(0, 2 * 366, 14)


def zone_warning(database_zone: str, system_zone: str, now: datetime) -> str | None:
    """One line when the two zones' clocks differ somewhere in the two years before `now` (aware), else None.

    vnpy_sqlite stores naive local times: with different zones the bars that it hands back are shifted.
    Raises `Refusal` when vn.py's setting names no zone.
    """
    try:
        database = ZoneInfo(database_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        text = _("vt_setting.json 的 database.timezone 不是有效时区：{}，请改为例如 Asia/Shanghai")
        raise Refusal(text.format(database_zone)) from None
    system = ZoneInfo(system_zone)
    days = (now - timedelta(days=days) for days in COMPARED_DAYS)
    if all(database.utcoffset(day.astimezone(database)) == system.utcoffset(day.astimezone(system)) for day in days):
        return None
    text = _("vn.py 数据库时区 {} 与系统时区 {} 不同，K 线会偏移：请在 vt_setting.json 把 database.timezone 改为 {}")
    return text.format(database_zone, system_zone, system_zone)
