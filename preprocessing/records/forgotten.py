"""Users and items that were forgotten: what no step may bring back, without their ids."""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from configs.loading import ConfigurationError
from preprocessing import storage
from preprocessing.records.contract import DamagedRecords

FORGOTTEN_FILE = "forgotten.json"
"""Name of the file in the work directory."""

_VERSION = 1
_CHECKSUM = "sha256"
"""Files of older versions do not have it."""
_OTHERS = "under_other_salts"


@dataclass(frozen=True)
class Forgotten:
    """Hashes of forgotten ids, HMAC-SHA256 under a salt that is stored with them.

    The hashes tell whether an id that is at hand was forgotten. Whoever has the file and a list of
    candidates can tell it too, so the file is pseudonymous and not anonymous.

    Attributes:
      salt: hexadecimal; empty where nothing was forgotten.
      users: hashes of user ids.
      items: hashes of item ids.
      others: hashes under other salts, each salt once; a work directory has none.
    """

    salt: str = ""
    users: frozenset[str] = frozenset()
    items: frozenset[str] = frozenset()
    others: tuple[Forgotten, ...] = ()

    @classmethod
    def of(cls, work_dir: str | Path) -> Forgotten:
        """Reads the file of a work directory; where there is none, nothing was forgotten.

        Raises:
          ConfigurationError: the work directory is a file, or is said to lie in one.
          DamagedRecords: the file is not what `write` wrote.
        """
        path = Path(work_dir) / FORGOTTEN_FILE
        try:
            contents = json.loads(path.read_bytes())
            if contents["version"] != _VERSION:
                raise ValueError(f"version {contents['version']}")
            salt = str(contents["salt"])
            bytes.fromhex(salt)
            others = tuple(
                cls(str(each["salt"]), frozenset(each["users"]), frozenset(each["items"]))
                for each in contents.get(_OTHERS, ())
            )
            read = cls(salt, frozenset(contents["users"]), frozenset(contents["items"]), others)
            if contents.get(_CHECKSUM, read._checksum) != read._checksum:
                raise ValueError("its checksum is wrong")
            return read
        except FileNotFoundError:
            return cls()
        except NotADirectoryError as error:
            file = next(folder for folder in path.parents if folder.is_file())
            raise ConfigurationError(f"work_dir: '{file}' is a file; name a folder") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DamagedRecords(
                f"{path}: not a list of forgotten ids ({error}); restore it from a backup: without "
                "it, later steps may bring back what was forgotten"
            ) from error

    def __bool__(self) -> bool:
        return bool(self.users or self.items or self.others)

    @property
    def digest(self) -> str | None:
        """What manifests of steps that obeyed this hold; None where nothing was forgotten."""
        if not self:
            return None
        return _sha256(*self._hashes())

    @property
    def _checksum(self) -> str:
        """Checksum of salt and hashes: one wrong digit of the salt would let everybody back."""
        salts = [each.salt for each in self.by_salt()]
        return _sha256(*salts, "", *self._hashes())

    def _hashes(self) -> list[str]:
        return [
            text
            for each in self.by_salt()
            for text in (*sorted(each.users), "", *sorted(each.items))
        ]

    def by_salt(self) -> list[Forgotten]:
        """One for each salt, this one's own first."""
        return [replace(self, others=()), *self.others]

    def hash_of(self, entity: str, entity_id: str) -> str:
        """The hash of an id, hexadecimal.

        Args:
          entity: "user" or "item".
          entity_id: the id.
        """
        key = bytes.fromhex(self.salt)
        return hmac.digest(key, f"{entity}\0{entity_id}".encode(), "sha256").hex()

    def has(self, entity: str, entity_id: str) -> bool:
        """Whether an id was forgotten."""
        hashes = self.users if entity == "user" else self.items
        if hashes and self.hash_of(entity, entity_id) in hashes:
            return True
        return any(each.has(entity, entity_id) for each in self.others)

    def among(self, entity: str, ids: Sequence[str | None]) -> list[bool]:
        """[ids] which of some distinct ids were forgotten."""
        return [entity_id is not None and self.has(entity, entity_id) for entity_id in ids]

    def with_ids(self, users: Iterable[str], items: Iterable[str]) -> Forgotten:
        """A copy that knows further ids."""
        salted = self if self.salt else replace(self, salt=secrets.token_hex(32))
        return replace(
            salted,
            users=self.users | {salted.hash_of("user", user) for user in users},
            items=self.items | {salted.hash_of("item", item) for item in items},
        )

    def joined(self, other: Forgotten) -> Forgotten:
        """A copy that also knows whom another one knows; it has this one's salt if there is one."""
        joined: dict[str, Forgotten] = {}
        for each in (*self.by_salt(), *other.by_salt()):
            if each.salt:
                known = joined.get(each.salt, Forgotten(each.salt))
                joined[each.salt] = replace(
                    known, users=known.users | each.users, items=known.items | each.items
                )
        first, *others = joined.values() or [self]
        return replace(first, others=tuple(others))

    def write(self, work_dir: str | Path) -> None:
        """Writes the file of a work directory; it appears complete or not at all."""
        others = [
            {"salt": each.salt, "users": sorted(each.users), "items": sorted(each.items)}
            for each in self.others
        ]
        contents = {
            "version": _VERSION,
            "salt": self.salt,
            "users": sorted(self.users),
            "items": sorted(self.items),
            **({_OTHERS: others} if others else {}),
            _CHECKSUM: self._checksum,
        }
        for leftover in Path(work_dir).glob(f"{FORGOTTEN_FILE}.*.partial"):
            leftover.unlink()
        with storage.create_bytes(str(Path(work_dir) / FORGOTTEN_FILE)) as file:
            file.write(json.dumps(contents, indent=1).encode() + b"\n")


def _sha256(*lines: str) -> str:
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


NOTHING_FORGOTTEN = Forgotten()
