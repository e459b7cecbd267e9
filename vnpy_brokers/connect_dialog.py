"""The connect dialog (系统 menu): vn.py's, reading any file a person or an older version left, and keeping secrets.

vn.py's own fails to open over a file that is no valid JSON or holds a number where a drop-down is, masks the password
in one language only, and writes it to disk. The latch and other programs take this for the dialog that it extends.
"""

from __future__ import annotations

import json
from typing import Any

from PySide6 import QtGui, QtWidgets
from vnpy.trader.engine import MainEngine
from vnpy.trader.locale import _ as vnpy_text
from vnpy.trader.ui.widget import ConnectDialog
from vnpy.trader.utility import get_file_path

from vnpy_brokerkit.files import write_private
from vnpy_brokerkit.i18n import _
from vnpy_brokerkit.settings import PASSWORD_KEYS


class PrivateConnectDialog(ConnectDialog):
    """One gateway's settings as fields, in the order of its ``default_setting``; a list is a drop-down."""

    def __init__(self, main_engine: MainEngine, gateway_name: str) -> None:
        self._saved: dict[str, Any] = {}
        self._problem = ""
        super().__init__(main_engine, gateway_name)

    def init_ui(self) -> None:
        """Build the form from the defaults and from what was saved last."""
        self.setWindowTitle(vnpy_text("连接{}").format(self.gateway_name))
        self._load()
        form = QtWidgets.QFormLayout()
        for name, default in (self.main_engine.get_default_setting(self.gateway_name) or {}).items():
            field: QtWidgets.QComboBox | QtWidgets.QLineEdit
            field = self._choices(name, default) if isinstance(default, list) else self._line(name, default)
            self.widgets[name] = (field, type(default))
            form.addRow(name, field)
        if self._problem:
            label = QtWidgets.QLabel(self._problem)
            label.setWordWrap(True)
            form.addRow(label)
        button = QtWidgets.QPushButton(vnpy_text("连接"))
        button.clicked.connect(self.connect_gateway)
        form.addRow(button)
        self.setLayout(form)
        self.setMinimumWidth(520)

    def _choices(self, name: str, offered: list[str]) -> QtWidgets.QComboBox:
        combo = QtWidgets.QComboBox()
        combo.addItems(offered)
        if name in self._saved:
            # One that is no longer offered shows as nothing chosen, and the gateway says so in words.
            combo.setCurrentIndex(combo.findText(_text(self._saved[name])))
        return combo

    def _line(self, name: str, default: Any) -> QtWidgets.QLineEdit:
        line = QtWidgets.QLineEdit(_text(self._saved.get(name, default)))
        line.setCursorPosition(0)  # a long text shows its beginning
        if name in PASSWORD_KEYS or vnpy_text("密码") in name:
            line.setEchoMode(QtWidgets.QLineEdit.EchoMode.Password)
        if name in PASSWORD_KEYS:
            line.setText(next((_text(self._saved[key]) for key in PASSWORD_KEYS if self._saved.get(key)), ""))
            line.setPlaceholderText(_("留空：依次用系统钥匙串、环境变量中的密码"))
            line.setToolTip(line.placeholderText())  # in English it is longer than the field
        if type(default) is int:
            line.setValidator(QtGui.QIntValidator())
        return line

    def _load(self) -> None:
        path = get_file_path(self.filename)
        try:
            saved = json.loads(path.read_text("utf-8-sig"))  # Notepad on Windows writes a byte order mark
        except FileNotFoundError:
            return
        except (OSError, ValueError, RecursionError):
            saved = None
        if isinstance(saved, dict):
            self._saved = saved
        else:
            self._problem = _("已保存的设置{}无法读取，以下为默认值；点“连接”将覆盖它").format(path)

    def connect_gateway(self) -> None:
        """Save the settings without the password, connect, and close; stays open where the gateway raises."""
        setting: dict[str, Any] = {}
        for name, (field, kind) in self.widgets.items():
            if isinstance(field, QtWidgets.QComboBox):
                setting[name] = field.currentText()
            elif isinstance(field, QtWidgets.QLineEdit):
                try:
                    setting[name] = kind(field.text())
                except ValueError:
                    setting[name] = kind()
        self._save(setting)
        self.main_engine.connect(setting, self.gateway_name)
        self.accept()

    def _save(self, setting: dict[str, Any]) -> None:
        # Keys that this version does not know stay: the version that wrote them may come back.
        saved = {**self._saved, **setting}
        saved |= {key: "" for key in PASSWORD_KEYS if saved.get(key)}
        text = json.dumps(saved, indent=4, ensure_ascii=False)
        path = get_file_path(self.filename)
        try:
            write_private(path.resolve(), text.encode("utf-8", "surrogatepass"))
        except (OSError, RuntimeError) as error:
            reason = getattr(error, "strerror", None) or type(error).__name__
            text = _("连接设置未能保存到{}（{}）").format(path, reason)
            self.main_engine.write_log(text, self.gateway_name)


def _text(value: Any) -> str:
    """What a field shows of a saved value: by hand, a person may write a number or leave the list of choices."""
    if isinstance(value, list):
        value = value[0] if value else ""
    return "" if value is None else str(value)
