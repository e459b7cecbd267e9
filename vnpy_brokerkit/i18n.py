"""The words for people: Chinese in the source, other languages from the gettext catalogues.

One domain, ``vnpy_brokers``, for every room of the house; the catalogues stand in ``vnpy_brokers/locale`` beside this
package. The language is the environment's, exactly as vn.py picks its own, so that both speak the same one.
"""

from __future__ import annotations

import gettext
from pathlib import Path

LOCALE_DIR = Path(__file__).resolve().parent.parent / "vnpy_brokers" / "locale"

_translations = gettext.translation("vnpy_brokers", localedir=LOCALE_DIR, fallback=True)

_ = _translations.gettext

IN_CHINESE = not isinstance(_translations, gettext.GNUTranslations)
"""Whether people see the source's own words: there is no catalogue of the environment's language."""


def N_(message: str) -> str:
    """Mark a text of a table for the catalogues; it is translated where it is used."""
    return message
