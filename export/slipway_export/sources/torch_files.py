"""What a torch model's file is, by its content: people give every form every suffix."""

from __future__ import annotations

import io
import zipfile
from typing import Literal

from slipway_core.card import ModelCard
from slipway_core.errors import ExportFailed

# A torch.export archive, a TorchScript archive, torch.save's pickle (in a zip archive or bare), or safetensors.
Form = Literal["program", "script", "pickle", "safetensors"]
_MAGIC = (0x1950A86A20F9469CFC6C).to_bytes(10, "little")  # what torch.save wrote first before it wrote archives
_ZIP = b"PK"


def form_of(card: ModelCard, content: bytes) -> Form:
    """Raises :class:`ExportFailed` for a file that is none of them, or damaged."""
    if content.startswith(_ZIP):
        return _form_of_archive(card, content)
    if content.startswith(b"\x80") and _MAGIC in content[:32]:
        return "pickle"
    if content[8:9] == b"{":
        if int.from_bytes(content[:8], "little") > len(content) - 8:
            raise damaged(card)
        return "safetensors"
    raise _foreign(card)


def damaged(card: ModelCard) -> ExportFailed:
    return ExportFailed(card.name, f"{card.source.path} is damaged or cut off; export the model again")


def entries(archive: zipfile.ZipFile) -> list[str]:
    """The names of an archive's entries below its one folder."""
    return [entry.filename.partition("/")[2] for entry in archive.infolist()]


def _form_of_archive(card: ModelCard, content: bytes) -> Form:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = entries(archive)
            # torch reads numbers without a look at their checksum, and would convert wrong ones faithfully.
            whole = archive.testzip() is None
    except (zipfile.BadZipFile, EOFError, OSError, ValueError, NotImplementedError, RuntimeError):
        raise damaged(card) from None
    if not whole:
        raise damaged(card)
    if "archive_format" in names or any(name.startswith("models/") for name in names):
        return "program"
    if "constants.pkl" in names or "model.json" in names:
        return "script"
    if "data.pkl" in names:
        return "pickle"
    raise _foreign(card)


def _foreign(card: ModelCard) -> ExportFailed:
    return ExportFailed(
        card.name,
        f"{card.source.path} is no file of torch: neither of torch.save, torch.export.save or torch.jit.save, nor "
        "safetensors",
    )
