"""``python -m vnpy_brokers.locale``: refresh the catalogues, and say what is left to translate.

It reads the source of a checkout, updates each ``.po``, and compiles it. A text that changed keeps its old translation,
marked fuzzy: correct it in the ``.po``, remove the mark, and run this again. The exit code is 1 while something is
left. Needs Babel (the extra ``test``).
"""

from __future__ import annotations

import sys

from vnpy_brokers.console import speak_utf8

from . import catalogue


def main() -> int:
    """Refresh every language; return 0 when all is translated, else 1."""
    left = 0
    sources = catalogue.read_sources()
    for language in catalogue.LANGUAGES:
        translations = catalogue.read_catalogue(language)
        catalogue.refresh(translations, sources)
        catalogue.write_catalogue(translations, language)
        catalogue.compile_catalogue(translations, language)
        missing = catalogue.untranslated(translations)
        left += len(missing)
        sys.stdout.write(f"{language}: {len(translations)} texts, {len(missing)} to translate\n")
        sys.stdout.writelines(f"  {line}\n" for line in missing)
    return 1 if left else 0


if __name__ == "__main__":
    speak_utf8()
    raise SystemExit(main())
