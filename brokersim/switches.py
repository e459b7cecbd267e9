"""What the switches of both simulated brokers share: they are set from text or JSON, all of a change or nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import msgspec


class BadSwitch(ValueError):
    """No such switch, or not with this value; the text is one line that says what there is."""


@dataclasses.dataclass
class SwitchBoard:
    """The base of a broker's switches: its fields are the switches, their types the values that they take."""

    def change(self, changes: Mapping[str, object]) -> None:
        """Set switches from text or JSON values; :class:`BadSwitch`, with nothing changed, when one is wrong."""
        fields = {field.name for field in dataclasses.fields(self)}
        for name in changes:
            if name not in fields:
                raise BadSwitch(f"unknown switch {name!r}: one of {', '.join(sorted(fields))}")
        wanted = {**dataclasses.asdict(self), **{name: _spelt(value) for name, value in changes.items()}}
        try:
            changed = msgspec.convert(wanted, type(self), strict=False)
        except msgspec.ValidationError as error:
            raise BadSwitch(f"switches: {error}") from error
        for name in changes:
            setattr(self, name, getattr(changed, name))


_WORDS: dict[object, object] = {"on": True, "yes": True, "off": False, "no": False}


def _spelt(value: object) -> object:
    return _WORDS.get(value.lower(), value) if isinstance(value, str) else value
