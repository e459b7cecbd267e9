"""From the source to the catalogues: extract, update, compile."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

DOMAIN = "vnpy_brokers"
LANGUAGES = ("en",)
PACKAGES = ("vnpy_brokers", "vnpy_brokerkit", "vnpy_vbrokers", "vnpy_ibkr")
"""Whose texts are translated; the simulator speaks for itself, in English."""
KEYWORDS: dict[str, None] = {"_": None, "N_": None}
"""``N_`` marks a text that is translated where it is used."""

LOCALE_DIR = Path(__file__).resolve().parent
ROOT = LOCALE_DIR.parent.parent
FIRST_DATE = datetime(2026, 1, 1, tzinfo=timezone.utc)
"""In every header, in place of the hour of the last run: a refresh that changes no text must change no file."""


def catalogue_path(language: str, suffix: str) -> Path:
    """The file of a language: ``.po`` for people, ``.mo`` for programs."""
    return LOCALE_DIR / language / "LC_MESSAGES" / f"{DOMAIN}{suffix}"


def read_sources() -> Catalog:
    """Every text of the source, with the files that it stands in and without a translation."""
    found = Catalog(creation_date=FIRST_DATE)
    for package in PACKAGES:
        texts = extract_from_dir(ROOT / package, method_map=[("**.py", "python")], keywords=KEYWORDS)
        for file, line, message_id, _comments, _context in texts:
            found.add(message_id, locations=[(f"{package}/{file}", line)])
    return found


def read_catalogue(language: str) -> Catalog:
    """The catalogue of a language as it stands, empty for a new one."""
    path = catalogue_path(language, ".po")
    if path.exists():
        with path.open("rb") as file:
            return read_po(file, locale=language, domain=DOMAIN)
    return Catalog(
        locale=language,
        domain=DOMAIN,
        header_comment=f"# {DOMAIN}: the source's Chinese in another language ({language}).",
        project=DOMAIN,
        version="1",
        msgid_bugs_address=DOMAIN,
        last_translator=DOMAIN,
        language_team=DOMAIN,
        creation_date=FIRST_DATE,
        revision_date=FIRST_DATE,
        fuzzy=False,
    )


def refresh(catalogue: Catalog, sources: Catalog) -> None:
    """Bring a catalogue to the source's texts: new ones are empty, similar ones fuzzy, those that are gone go."""
    catalogue.update(sources, update_header_comment=False, update_creation_date=False)
    catalogue.obsolete.clear()


def texts(catalogue: Catalog) -> Iterator[Message]:
    """The messages of a catalogue, its header aside."""
    return (message for message in catalogue if message.id)


def untranslated(catalogue: Catalog) -> list[str]:
    """What is left to do: the texts that have no translation, or a fuzzy one."""
    return [
        f"{'fuzzy' if message.fuzzy else 'missing'}: {message.id}"
        for message in texts(catalogue)
        if message.fuzzy or not message.string
    ]


def write_catalogue(catalogue: Catalog, language: str) -> None:
    """Write the ``.po``. No line numbers in it: they change with every edit of the source."""
    path = catalogue_path(language, ".po")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        write_po(file, catalogue, width=0, sort_by_file=True, include_lineno=False)


def compile_catalogue(catalogue: Catalog, language: str) -> None:
    """Write the ``.mo``: what gettext reads. Fuzzy translations stay out of it."""
    with catalogue_path(language, ".mo").open("wb") as file:
        write_mo(file, catalogue)
