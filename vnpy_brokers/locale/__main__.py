"""``python -m vnpy_brokers.locale``: refresh the catalogues, and say what is left to translate.

It reads the source of a checkout, updates each ``.po``, and compiles it. A text that changed keeps its old translation,
marked fuzzy: correct it in the ``.po``, remove the mark, and run this again. The exit code is 1 while something is
left. Needs Babel (the extra ``test``).
"""

from __future__ import annotations

import sys

from .catalogue import LANGUAGES, compile_catalogue, read_catalogue, read_sources, refresh, untranslated, write_catalogue


def main() -> int:
    """Refresh every language; return 0 when all is translated, else 1."""
    left = 0
    sources = read_sources()
    for language in LANGUAGES:
        catalogue = read_catalogue(language)
        refresh(catalogue, sources)
        write_catalogue(catalogue, language)
        compile_catalogue(catalogue, language)
        missing = untranslated(catalogue)
        left += len(missing)
        sys.stdout.write(f"{language}: {len(catalogue)} texts, {len(missing)} to translate\n")
        for line in missing:
            sys.stdout.write(f"  {line}\n")
    return 1 if left else 0


if __name__ == "__main__":
    sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]  # a console's or a pipe's: always a TextIOWrapper
    raise SystemExit(main())
