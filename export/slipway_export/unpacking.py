"""Zip files that somebody made: how large they become is asked before they are unpacked."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import IO

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed


def refuse_bomb(card: ModelCard, path: Path, content: IO[bytes], most_bytes: int, member: str = "") -> None:
    """Raise :class:`ExportFailed` for a zip file that unpacks to more than ``most_bytes``; ``member``: that one alone.

    What is no zip file at all is left to who reads it. A member cannot be larger than it says: reading stops there.
    """
    try:
        with zipfile.ZipFile(content) as archive:
            size = sum(info.file_size for info in archive.infolist() if member in ("", info.filename))
    except (zipfile.BadZipFile, OSError):
        return
    if size > most_bytes:
        what = f"{member} in {path}" if member else str(path)
        raise ExportFailed(
            card.name, f"{what} unpacks to {size / 1e6:,.0f} MB, more than the {most_bytes / 1e6:,.0f} MB allowed"
        )
