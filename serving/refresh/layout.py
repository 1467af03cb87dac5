"""Where a version keeps what a refresh needs: `assets.extra/refresh/`.

    refresh.json                    sources, encoder, kinds of tables (`description`)
    functions/                      SavedModel: knowledge vectors -> augmented vectors, ...
    sources/<source>/entities.npz   who has which answer (`entities`)
    sources/<source>/match.npz, prior.npz        frozen numbers (`methods`)
    sources/<source>/projected.npy, augmented.npy   what a table that is summed or encoded further
                                    was made from
    sources/<source>/encoder/       files of an encoder that was fitted on the source

TensorFlow Serving does not read files of assets.extra that it does not know.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

FORMAT_VERSION: Final = 1
ASSETS = "assets.extra"


@dataclass(frozen=True)
class RefreshFolder:
    """Paths of a version's parts.

    Attributes:
      version_folder: the version.
    """

    version_folder: Path

    @property
    def path(self) -> Path:
        """The folder."""
        return self.version_folder / ASSETS / "refresh"

    @property
    def description(self) -> Path:
        """Sources, encoder, kinds of tables: JSON."""
        return self.path / "refresh.json"

    @property
    def functions(self) -> Path:
        """A SavedModel."""
        return self.path / "functions"

    def source(self, source: str) -> Path:
        """Folder of a source."""
        return self.path / "sources" / source

    def encoder(self, source: str) -> Path:
        """Folder of an encoder that was fitted on a source."""
        return self.source(source) / "encoder"
