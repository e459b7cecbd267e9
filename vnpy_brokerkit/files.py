"""Writing small files of the user's so that they are whole, and nobody else's to read."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace ``path`` by ``content`` in one step, readable by its owner alone where the system knows owners.

    A crash at any instruction leaves the old file or the new one, never a part. Raises OSError; the old file is then
    untouched and no temporary file stays behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # mkstemp makes the file 0600 from its first moment: there is no instant at which others could open it.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
