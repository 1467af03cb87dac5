"""Raw id -> row for millions of ids, in variables; ids as strings or whole numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
from tensorflow.types.experimental import ConcreteFunction

from configs.loading import ConfigurationError
from models.vector_tables import growing_table
from preprocessing.records.contract import HISTORY_ITEM_ID, ITEM_ID, NO_ID, USER_ID

WINDOW = 12
"""Keys that a lookup compares with: no bucket has more."""

UNKNOWN_ROW = 0
_HASH_BITS = 63
_FURTHER_BITS = 6
"""A table of buckets has at most this many bits more than one bucket an id needs. Hashes that
are spread evenly hardly ever need one of them."""

_NO_KEY = -1
_IDS_AT_ONCE = 1_000_000
_SALTS = ("", "a", "b", "c")


class IndexOverflow(ValueError):
    """Ids cannot be told apart by their hashes, or too many of these are alike."""


@dataclass(frozen=True)
class IndexContents:
    """What an `IdIndex` stores.

    Keys are the ids' hashes (FarmHash, 63 bits) in ascending order. A bucket holds those with
    the same leading bits, so that its keys stand beside each other.

    Attributes:
      keys: int64 [ids + WINDOW], hashes, then padding that equals none.
      rows: int32 [ids + WINDOW], row of each key.
      starts: int32 [buckets], first key of each bucket; buckets are a power of two.
      shift: int64 scalar, a hash's bits below those that name its bucket.
      salt: put before every id, so that no two of them have one hash.
    """

    keys: np.ndarray
    rows: np.ndarray
    starts: np.ndarray
    shift: np.ndarray
    salt: str

    @classmethod
    def of_ids(cls, ids: Sequence[str] | np.ndarray) -> IndexContents:
        """Gives the ids the rows 1, 2, 3, ...

        Args:
          ids: raw ids, without repeats.

        Raises:
          IndexOverflow: ids repeat, or their hashes are too much alike.
        """
        rows = np.arange(1, 1 + len(ids), dtype=np.int32)
        for salt in _SALTS:
            keys = id_hashes(ids, salt)
            if _are_distinct(keys):
                return cls.of_hashes(keys, rows, salt)
        raise IndexOverflow("ids repeat")

    @classmethod
    def of_hashes(cls, keys: np.ndarray, rows: np.ndarray, salt: str = "") -> IndexContents:
        """Sorts distinct hashes, int64 [ids], with their rows, int32 [ids].

        Raises:
          IndexOverflow: buckets would be too many.
        """
        order = np.argsort(keys, kind="stable")
        keys, rows = keys[order], rows[order]
        fewest_bits = int(np.ceil(np.log2(max(len(keys), 1))))
        for bits in range(fewest_bits, min(fewest_bits + _FURTHER_BITS, _HASH_BITS) + 1):
            buckets = keys >> np.int64(_HASH_BITS - bits)
            if not (buckets[WINDOW:] == buckets[:-WINDOW]).any():
                break
        else:
            raise IndexOverflow(
                f"more than {WINDOW} hashes share their first {bits} bits: these ids hash "
                "badly together"
            )
        starts = np.searchsorted(buckets, np.arange(2**bits))
        padding = (0, WINDOW)
        return cls(
            keys=np.pad(keys, padding, constant_values=_NO_KEY),
            rows=np.pad(rows, padding),
            starts=starts.astype(np.int32),
            shift=np.asarray(_HASH_BITS - bits, np.int64),
            salt=salt,
        )

    def with_ids(self, ids: Sequence[str], first_row: int) -> IndexContents:
        """A copy with further ids, of the rows first_row, first_row + 1, ...

        Raises:
          IndexOverflow: an id, or its hash, is in the index already.
        """
        new = id_hashes(ids, self.salt)
        keys = np.concatenate([self.keys[:-WINDOW], new])
        if not _are_distinct(keys):
            raise IndexOverflow("an id has the hash of another one; export again from the run")
        rows = np.arange(first_row, first_row + len(ids), dtype=np.int32)
        joined = np.concatenate([self.rows[:-WINDOW], rows])
        return type(self).of_hashes(keys, joined, self.salt)


class IdIndex(tf.Module):
    """Raw id -> row; unknown ids, and the empty one, have row 0.

    A lookup hashes the id, reads where its bucket starts and compares the keys there. Its cost does
    not grow with the number of ids, and loading is reading three arrays. An unknown id meets a
    known hash with a probability of ids / 2^63.

    Shapes: strings [...] -> int32 [...].
    """

    def __init__(self, ids: Sequence[str] | np.ndarray, name: str):
        """Gives the ids the rows 1, 2, 3, ...

        Args:
          ids: raw ids, without repeats.
          name: prefix of the variables' names.

        Raises:
          IndexOverflow: ids repeat.
        """
        super().__init__(name="id_index")
        contents = IndexContents.of_ids(ids)
        self._salt = contents.salt
        self._stored_salt = tf.Variable(contents.salt, trainable=False, name=f"{name}/index/salt")
        self._shift = tf.Variable(contents.shift, trainable=False, name=f"{name}/index/shift")
        self._keys = growing_table(contents.keys, f"{name}/index/keys")
        self._rows = growing_table(contents.rows, f"{name}/index/rows")
        self._starts = growing_table(contents.starts, f"{name}/index/starts")

    def __call__(self, ids: tf.Tensor) -> tf.Tensor:
        """Rows of raw ids."""
        flat = tf.reshape(ids, [-1])
        keys = _hashes(flat, self._salt)
        buckets = tf.bitwise.right_shift(keys, self._shift)
        starts = tf.gather(self._starts, buckets)
        places = starts[:, tf.newaxis] + tf.range(WINDOW)
        is_match = tf.gather(self._keys, places) == keys[:, tf.newaxis]
        rows = tf.where(is_match, tf.gather(self._rows, places), UNKNOWN_ROW)
        return tf.ensure_shape(tf.reshape(tf.reduce_max(rows, axis=1), tf.shape(ids)), ids.shape)


def id_hashes(ids: Sequence[str] | np.ndarray, salt: str = "") -> np.ndarray:
    """Hashes of ids from 0 to 2^63 - 2, int64 [ids]."""
    parts = [
        _hashes(tf.constant(ids[start : start + _IDS_AT_ONCE], tf.string), salt).numpy()
        for start in range(0, len(ids), _IDS_AT_ONCE)
    ]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _are_distinct(keys: np.ndarray) -> bool:
    ascending = np.sort(keys)
    return not (ascending[1:] == ascending[:-1]).any()


def _hashes(ids: tf.Tensor, salt: str) -> tf.Tensor:
    salted = tf.strings.join([salt, ids]) if salt else ids
    return tf.strings.to_hash_bucket_fast(salted, 2**_HASH_BITS - 1)


class StoredUserRows(tf.Module):
    """Looks a user up once for all sources.

    Shapes: user ids, strings [m] -> source -> knowledge rows, int32 [m]; 0 where a source knows
      nothing of the user.
    """

    def __init__(self, user_ids: Sequence[str], rows: Mapping[str, np.ndarray]):
        """Stores the rows.

        Args:
          user_ids: raw ids, without repeats.
          rows: source -> int [users + 1], knowledge row of each user behind row 0's.
        """
        super().__init__(name="user_rows")
        self._index = IdIndex(user_ids, "users")
        self._rows = {
            source: growing_table(source_rows, f"users/knowledge_row/{source}", tf.int32)
            for source, source_rows in rows.items()
        }

    def __call__(self, user_ids: tf.Tensor) -> dict[str, tf.Tensor]:
        """Knowledge rows of users."""
        users = self._index(user_ids)
        return {source: tf.gather(rows, users) for source, rows in self._rows.items()}


IDS = (USER_ID, ITEM_ID, HISTORY_ITEM_ID)
"""Features that are raw ids: strings, or whole numbers in exports whose id type is int64."""

_LARGEST = 2**63 - 1


def with_whole_number_ids(signature: ConcreteFunction) -> ConcreteFunction:
    """The signature with int64 in the place of ids that are strings, both in inputs and outputs.

    Padding is -1 in the place of "".

    Args:
      signature: takes named tensors; returned as it is when no id is among them.
    """
    _, inputs = signature.structured_input_signature
    if not inputs.keys() & set(IDS):
        return signature
    specifications = {
        name: tf.TensorSpec(given.shape, tf.int64 if name in IDS else given.dtype, name=name)
        for name, given in inputs.items()
    }

    def run(**raw: tf.Tensor) -> dict[str, tf.Tensor]:
        texts = {name: _text(ids) if name in IDS else ids for name, ids in raw.items()}
        outputs = signature(**texts)
        return {
            name: _whole_number(values) if name in IDS else values
            for name, values in outputs.items()
        }

    return tf.function(run, autograph=False).get_concrete_function(**specifications)


def require_whole_numbers(ids: Iterable[str], entity: str) -> None:
    """Makes sure that ids are whole numbers as `str(int)` writes them, from 0 to 2^63 - 1.

    Raises:
      ConfigurationError: one is not.
    """
    for raw_id in ids:
        is_number = raw_id.isascii() and raw_id.isdecimal() and len(raw_id) <= len(str(_LARGEST))
        if not is_number or int(raw_id) > _LARGEST or str(int(raw_id)) != raw_id:
            raise ConfigurationError(
                f"serving.id_type: int64 needs ids that are whole numbers, and {entity} '{raw_id}' "
                "is none; use string"
            )


def _text(ids: tf.Tensor) -> tf.Tensor:
    return tf.where(ids < 0, "", tf.strings.as_string(ids))


def _whole_number(ids: tf.Tensor) -> tf.Tensor:
    return tf.strings.to_number(tf.where(ids == "", str(NO_ID), ids), tf.int64)
