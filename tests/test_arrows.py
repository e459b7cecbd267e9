"""Who may import whom (design, section 2)."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PLUGINS = ("vnpy_vbrokers", "vnpy_ibkr")
PACKAGES = ("vnpy_brokers", *PLUGINS, "vnpy_brokerkit", "brokersim")
SHARED_SCHEMA = "vnpy_vbrokers.wire.proto"


def present(package: str) -> bool:
    return (ROOT / package / "__init__.py").exists()


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(path: Path) -> Iterator[str]:
    """The absolute name of everything that the file imports, wherever in it, ``import_module("...")`` included."""
    name = module_name(path)
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{base}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("import_module", "__import__") and isinstance(node.args[0].value, str):
                yield node.args[0].value


def within(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


def forbidden(package: str) -> tuple[str, ...]:
    """What no module of the package may import."""
    others = tuple(plugin for plugin in PLUGINS if plugin != package)
    return {
        "vnpy_brokers": (),
        "vnpy_brokerkit": ("vnpy_brokers", *PLUGINS, "brokersim"),
        "brokersim": ("vnpy_brokers", "vnpy_brokerkit", "vnpy", *PLUGINS),
    }.get(package, ("vnpy_brokers", *others, "brokersim"))


@pytest.mark.parametrize("package", [package for package in PACKAGES if present(package)])
def test_imports_follow_the_arrows(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported(path)
        for other in forbidden(package)
        if within(name, other) and not (package == "brokersim" and within(name, SHARED_SCHEMA))
    ]
    assert wrong == []


@pytest.mark.parametrize("plugin", [plugin for plugin in PLUGINS if present(plugin)])
def test_the_wire_knows_no_vnpy(plugin: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(f"{plugin}/wire")
        for name in imported(path)
        if within(name, "vnpy")
    ]
    assert wrong == []


def test_the_walk_sees_every_form_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "pack" / "sub" / "module.py"
    file.parent.mkdir(parents=True)
    file.write_text(
        "import a.b\nfrom c import d\nfrom . import e\nfrom ..f import g\n"
        "def late():\n    import h\n    import_module('i.j')\n    importlib.import_module('k')\n",
        encoding="utf-8",
    )
    assert set(imported(file)) == {"a.b", "c.d", "pack.sub.e", "pack.f.g", "h", "i.j", "k"}


@pytest.mark.parametrize("package", [package for package in PACKAGES if present(package)])
def test_importing_a_package_loads_no_vnpy(package: str) -> None:
    code = f"import sys, {package}; sys.exit(', '.join(m for m in sys.modules if m.split('.')[0] == 'vnpy') or 0)"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert result.returncode == 0, result.stderr
