"""Which gateways there are, and with which settings each is connected."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vnpy_brokerkit.i18n import _

from .refusal import Refusal

if TYPE_CHECKING:
    from vnpy.trader.gateway import BaseGateway

Setting = dict[str, Any]
"""Connect settings of one gateway, as vn.py's connect dialog makes them: key to text, number or choice."""

# Gateways in the order of add_gateway, which decides who owns a symbol that several of them serve.
GATEWAYS: Mapping[str, str] = {
    "VBROKERS": "vnpy_vbrokers:VbrokersGateway",
    "IBKR": "vnpy_ibkr:IbkrGateway",
}

ENVIRONMENT = "环境"
EMBEDDED = "内置模拟"

# Stands in every title of the demo, in any language, as the environment's name does.
DEMO_MARK = "【模拟】"


def gateway_class(name: str) -> type[BaseGateway]:
    """Import the gateway of that name. Loads vn.py."""
    module, attribute = GATEWAYS[name].split(":")
    loaded: type[BaseGateway] = getattr(import_module(module), attribute)
    return loaded


def choose_gateways(names: Sequence[str]) -> tuple[str, ...]:
    """The named gateways, or all when none is named, always in the order of the table. Raises `Refusal`."""
    wanted = {name.upper() for name in names} or set(GATEWAYS)
    unknown = sorted(wanted - set(GATEWAYS))
    if unknown:
        raise Refusal(_("没有名为 {} 的接口，可选：{}").format(", ".join(unknown), ", ".join(GATEWAYS)))
    return tuple(name for name in GATEWAYS if name in wanted)


def read_settings(path: Path) -> dict[str, Setting]:
    """Read a file ``{"VBROKERS": {...}, ...}``. Raises `Refusal`, which never quotes the file: it holds secrets."""
    settings = _read_object(path)
    unknown = sorted(set(settings) - set(GATEWAYS))
    if unknown:
        text = _("设置文件 {} 里有未知接口 {}，可用的名称：{}")
        raise Refusal(text.format(path, ", ".join(unknown), ", ".join(GATEWAYS)))
    for name, setting in settings.items():
        if not isinstance(setting, dict):
            raise Refusal(_("设置文件 {} 里 {} 的值应当是一个 JSON 对象（键和值）").format(path, name))
    return settings


def read_saved(path: Path) -> Setting | None:
    """What VN Trader's connect dialog stored last time, None when it never did. Raises `Refusal`."""
    return _read_object(path) if path.exists() else None


def defaults(default_setting: Mapping[str, Any]) -> Setting:
    """A gateway's default settings as values: the first item of each drop-down."""
    return {key: value[0] if isinstance(value, list) and value else value for key, value in default_setting.items()}


def demo_setting(name: str, default_setting: Mapping[str, Any], chosen: Mapping[str, Any]) -> Setting:
    """Settings for the demo: the defaults, overridden by `chosen`, on the embedded simulator. Raises `Refusal`."""
    setting = defaults(default_setting) | defaults(chosen)
    if setting.get(ENVIRONMENT) != EMBEDDED:
        text = _("--demo 只连接内置模拟：请把 {} 的 {} 改为 {}，或去掉 --demo")
        raise Refusal(text.format(name, ENVIRONMENT, EMBEDDED))
    return setting


def _read_object(path: Path) -> dict[str, Any]:
    try:
        # Notepad on Windows writes a byte order mark.
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise Refusal(_("设置文件不存在：{}，请检查路径").format(path)) from None
    except OSError as error:
        raise Refusal(_("设置文件 {} 无法读取：{}").format(path, error.strerror or type(error).__name__)) from None
    except json.JSONDecodeError as error:
        text = _("设置文件 {} 不是有效的 JSON：第 {} 行第 {} 列（{}），请改正后重试")
        raise Refusal(text.format(path, error.lineno, error.colno, error.msg)) from None
    except (UnicodeDecodeError, RecursionError):
        raise Refusal(_("设置文件 {} 不是 UTF-8 编码的 JSON，请另存为 UTF-8").format(path)) from None
    if not isinstance(value, dict):
        raise Refusal(_("设置文件 {} 应当是一个 JSON 对象：接口名称对应设置").format(path))
    return value
