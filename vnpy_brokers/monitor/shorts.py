"""A warning at 启动 for a strategy that can go short on a broker that refuses shorts."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import lru_cache

from vnpy_ctastrategy.engine import CtaEngine
from vnpy_ctastrategy.template import CtaTemplate

from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.routes import registry_for

from .engine import watched

OPENS_SHORT = "short"


def can_go_short(strategy_class: type[CtaTemplate]) -> bool:
    """Tell whether a strategy, or a base of it below vn.py's template, calls ``self.short`` anywhere."""
    ancestry = strategy_class.__mro__
    return any(map(_calls_short, ancestry[: ancestry.index(CtaTemplate)]))


@lru_cache(maxsize=256)
def _calls_short(cls: type) -> bool:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(cls)))
    except (OSError, TypeError, SyntaxError):  # no source, compiled or made at run time: nothing can be told of it
        return False
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == OPENS_SHORT
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "self"
        for node in ast.walk(tree)
    )


def warn_of_shorts(engine: CtaEngine, strategy_name: str) -> None:
    """Write the warning, if there is one, to the CTA log and to vn.py's; the strategy starts all the same."""
    strategy = engine.strategies.get(strategy_name)
    # What does not start gets no warning, but vn.py's own line.
    if strategy is None or not strategy.inited or strategy.trading or not can_go_short(type(strategy)):
        return
    routes = registry_for(engine.event_engine)
    contract = engine.main_engine.get_contract(strategy.vt_symbol)
    owner = contract.gateway_name if contract else routes.owner(strategy.vt_symbol)
    name = routes.orders(strategy.vt_symbol, strategy_name) or owner
    gateway = watched(engine.main_engine).get(name)
    if gateway is None or gateway.health().shorts:
        return
    text = _("警告：策略可能卖空（self.short），而{}的账户不能卖空{}，开空会被拒绝；请只做多，或改用可卖空的账户")
    line = text.format(name, strategy.vt_symbol)
    engine.write_log(line, strategy)
    engine.main_engine.write_log(f"[{strategy_name}]  {line}", name)
