"""A Beam file system `shared://NAME/...` over a folder that an environment variable names.

It stands for an object store: URLs are no paths of this machine, and only processes that load this
module can follow them.
"""

from __future__ import annotations

import os

from apache_beam.io.filesystem import FileMetadata
from apache_beam.io.localfilesystem import LocalFileSystem

FOLDER_VARIABLE = "SHARED_FILE_SYSTEM_FOLDER"
_PREFIX = "shared://"


class SharedFileSystem(LocalFileSystem):
    """Maps URLs to files below the folder."""

    @classmethod
    def scheme(cls):
        return "shared"

    def join(self, basepath, *paths):
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path):
        head, _, tail = path.rpartition("/")
        return head, tail

    def has_dirs(self):
        return False

    def metadata(self, path):
        (entry,) = (entry for entry in self._list(path) if entry.path == path)
        return entry

    def mkdirs(self, path):
        super().mkdirs(_local(path))

    def _list(self, dir_or_prefix):
        """Like an object store: all objects whose name begins so."""
        for folder, _, names in os.walk(os.environ[FOLDER_VARIABLE]):
            for name in names:
                path = os.path.join(folder, name)
                if _url(path).startswith(dir_or_prefix):
                    yield FileMetadata(_url(path), os.path.getsize(path), os.path.getmtime(path))

    def create(self, path, *args, **options):
        os.makedirs(os.path.dirname(_local(path)), exist_ok=True)
        return super().create(_local(path), *args, **options)

    def open(self, path, *args, **options):
        return super().open(_local(path), *args, **options)

    def rename(self, sources, destinations):
        super().rename([*map(_local, sources)], [*map(_local, destinations)])

    def exists(self, path):
        return super().exists(_local(path))

    def delete(self, paths):
        for path in paths:
            os.remove(_local(path))


def _local(url: str) -> str:
    return os.path.join(os.environ[FOLDER_VARIABLE], url.removeprefix(_PREFIX))


def _url(path: str) -> str:
    return _PREFIX + os.path.relpath(path, os.environ[FOLDER_VARIABLE])
