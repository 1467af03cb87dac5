"""Second pipeline of `encode`: distinct texts to vectors, and those to knowledge TFRecords."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from typing import Any

import apache_beam as beam
import numpy as np
from apache_beam.ml.inference.base import KeyedModelHandler, ModelHandler, RunInference
from tqdm import tqdm
from typing_extensions import override

from configs.command_line import say
from configs.knowledge import Encoder
from configs.progress import progress
from preprocessing import storage
from preprocessing.answers.record import Answer
from preprocessing.beam_sinks import DEAD_LETTERS, STATISTICS
from preprocessing.encoders.text_encoder import EncodedTexts, TextEncoder, encoder_class
from preprocessing.knowledge.accepting import (
    accepted_file,
    entity_shard,
    read_accepted,
)
from preprocessing.knowledge.entity_vectors import WritingPlan, write_entity_vectors
from preprocessing.knowledge.vector_cache import (
    PREFIXES,
    CacheFile,
    DamagedCacheFile,
    SmallFiles,
    clear_damaged,
    list_cache,
    prefix_of,
    read_table,
    select_vectors,
    text_hash,
    write_vectors,
)
from preprocessing.knowledge.vectors import KnowledgeRecord, round_vectors, usable_vectors
from preprocessing.records.contract import COLLECTIVE, INDIVIDUAL


class EncoderHandler(ModelHandler[list[str], EncodedTexts, TextEncoder]):
    """Encodes lists of texts.

    An element is a list already, as long as the encoder wants it, and Beam hands over one at a
    time: its vectors leave the handler, and are kept, before the next list is begun.

    Args:
      settings: configuration of the encoder.
      folder: path or URL of the folder where the prepared encoder lies.
    """

    def __init__(self, settings: Encoder, folder: str):
        super().__init__(min_batch_size=1, max_batch_size=1)
        self._settings = settings
        self._folder = folder
        self._progress: tqdm | None = None

    @override
    def load_model(self) -> TextEncoder:
        """Loads the encoder; sessions cannot be sent, so every worker loads its own."""
        return encoder_class(self._settings.kind).load(self._settings, self._folder)

    def run_inference(
        self,
        batch: Sequence[list[str]],
        model: TextEncoder,
        inference_args: Mapping[str, Any] | None = None,
    ) -> Iterable[EncodedTexts]:
        """Yields what came of each list of texts."""
        del inference_args
        if self._progress is None:
            self._progress = progress(desc=f"encode with {self._settings.kind}", unit="text")
        for texts in batch:
            encoded = model.encode(texts)
            self._progress.update(len(texts))
            yield encoded

    @override
    def get_num_bytes(self, batch: Sequence[list[str]]) -> int:
        """Bytes of the texts; the default would pickle every one to count it."""
        return sum(len(text) for texts in batch for text in texts)

    @override
    def get_metrics_namespace(self) -> str:
        return "TextEncoder"


_TEXTS, _FILES = "texts", "files"
_CACHED = "cached"
_ANSWERS_PER_ELEMENT = 1024
_TEXTS_PER_RANGE = 4096
_MOST_RANGES = 4096

AnswersOfTexts = list[tuple[bytes, list[Answer]]]
"""For each text its hash and the answers that hold it."""


@dataclass(frozen=True)
class TextVectors:
    """Vectors of some distinct texts.

    Attributes:
      answers: [texts] the answers with each text; their own field `text` is empty.
      vectors: [texts, dimension] float16.
      refused: row -> why the encoder takes no such text.
    """

    answers: list[list[Answer]]
    vectors: np.ndarray
    refused: dict[int, str] = field(default_factory=dict)


def number_of_ranges(texts: int) -> int:
    """Into how many ranges of the hash texts are divided: a power of two."""
    ranges = 1
    while ranges < _MOST_RANGES and texts >= 2 * ranges * _TEXTS_PER_RANGE:
        ranges *= 2
    return ranges


def _texts_by_range(shard: int, folder: str, ranges: int) -> Iterator[Any]:
    """Shard number to (range, [(hash, text, answer)])."""
    by_range: dict[int, list[tuple[bytes, str, Answer]]] = {}
    waiting = 0
    for answer in read_accepted(accepted_file(folder, shard)):
        digest = text_hash(answer.text)
        entries = by_range.setdefault(prefix_of(digest) * ranges // PREFIXES, [])
        entries.append((digest, answer.text, replace(answer, text="")))
        waiting += 1
        if waiting == _ANSWERS_PER_ELEMENT:
            yield from by_range.items()
            by_range, waiting = {}, 0
    yield from by_range.items()


def cache_files(folder: str, ranges: int) -> Iterator[tuple[int, CacheFile]]:
    """Folder of kept vectors to (range, file), a file once for every range that it reaches into."""
    for file in list_cache(folder):
        first, last = (index * ranges // PREFIXES for index in (file.first, file.last))
        for number in range(first, last + 1):
            yield number, file


def look_up(
    element: tuple[int, dict[str, Iterable[Any]]],
    texts_per_element: int,
    cache: str | None,
    ranges: int,
) -> Iterator[Any]:
    """A range's texts to (answers, texts) to encode, tagged `TextVectors` of those in the cache.

    Args:
      element: number of the range, its texts and the files of kept vectors that reach into it.
      texts_per_element: texts to encode in one element.
      cache: folder of kept vectors; None when there is none.
      ranges: number of ranges.
    """
    number, grouped = element
    texts: dict[bytes, str] = {}
    answers: dict[bytes, list[Answer]] = {}
    for batch in grouped[_TEXTS]:
        for digest, text, answer in batch:
            texts[digest] = text
            answers.setdefault(digest, []).append(answer)
    if not texts:
        return
    cached = {} if cache is None else _cached(cache, number, ranges, texts.keys(), grouped[_FILES])
    counts = {"texts": len(texts), "texts_from_cache": len(cached)}
    yield beam.pvalue.TaggedOutput(STATISTICS, counts)
    for digests in _chunks(sorted(cached), _ANSWERS_PER_ELEMENT):
        vectors = np.stack([cached[digest] for digest in digests])
        kept = TextVectors([answers[digest] for digest in digests], vectors)
        yield beam.pvalue.TaggedOutput(_CACHED, kept)
    for digests in _chunks(sorted(texts.keys() - cached.keys()), texts_per_element):
        yield (
            [(digest, answers[digest]) for digest in digests],
            [texts[digest] for digest in digests],
        )


def _cached(
    cache: str, number: int, ranges: int, texts: Set[bytes], files: Iterable[CacheFile]
) -> dict[bytes, np.ndarray]:
    """Kept vectors of a range's texts; merges the range's small files on the way."""
    cached: dict[bytes, np.ndarray] = {}
    first, last = (-(-index * PREFIXES // ranges) for index in (number, number + 1))
    small = SmallFiles(cache, first, last - 1)
    read: set[str] = set()
    waiting = sorted(files, key=lambda file: file.path)
    while waiting:
        gone = False
        for file in waiting:
            read.add(file.path)
            try:
                table = read_table(file.path)
            except DamagedCacheFile as error:
                say(f"{file.path}: damaged, its texts are encoded again ({error})")
                clear_damaged(file.path)
            except Exception:  # each object store has its own error for a missing object
                if storage.matching_files(file.path):
                    raise
                gone = True
            else:
                cached |= select_vectors(table, texts - cached.keys())
                small.add(file, table)
        # Another run has merged what is gone, or this one did before it was tried again.
        listed = list_cache(cache) if gone else []
        waiting = [
            file
            for file in listed
            if file.path not in read and file.first < last and file.last >= first
        ]
    return cached


def _kept_vectors(element: tuple[AnswersOfTexts, EncodedTexts], cache: str | None) -> Iterator[Any]:
    """Encoder output to `TextVectors`; good vectors go to the cache at once, a file each time."""
    answers, encoded = element
    rounded, good = round_vectors(encoded.vectors)
    if cache is not None and good.any():
        hashes = [answers[row][0] for row in np.flatnonzero(good)]
        write_vectors(cache, hashes, rounded[good], encoded.tokens)
    counts = {"texts_encoded": len(answers), "tokens": encoded.tokens}
    yield beam.pvalue.TaggedOutput(STATISTICS, counts)
    yield TextVectors([text_answers for _, text_answers in answers], rounded, dict(encoded.refused))


def encode_answers(
    shards: beam.PCollection,
    encoder: Encoder,
    prepared: str,
    accepted: str,
    cache: str | None,
    texts: int,
) -> dict[str, beam.PCollection]:
    """Shard numbers of accepted answers to `TextVectors`.

    Args:
      shards: numbers of the shards.
      encoder: configuration of the encoder.
      prepared: folder where the prepared encoder lies.
      accepted: folder with the accepted answers.
      cache: folder of kept vectors; None to look up and keep none.
      texts: number of accepted answers.

    Returns:
      Collections "vectors" and "statistics", the latter of counts.
    """
    ranges = number_of_ranges(texts)
    by_range = shards | "ReadAccepted" >> beam.FlatMap(_texts_by_range, accepted, ranges)
    files = (
        shards.pipeline
        | "CacheFolder" >> beam.Create([cache] if cache else [])
        | "ListCache" >> beam.FlatMap(cache_files, ranges)
    )
    per_element = encoder_class(encoder.kind).texts_per_element(encoder)
    looked_up = (
        {_TEXTS: by_range, _FILES: files}
        | "ByHash" >> beam.CoGroupByKey()
        | "LookUp"
        >> beam.FlatMap(look_up, per_element, cache, ranges).with_outputs(
            STATISTICS, _CACHED, main="missing"
        )
    )
    handler: ModelHandler = KeyedModelHandler(EncoderHandler(encoder, prepared))
    encoded = (
        looked_up["missing"]
        | "SpreadTexts" >> beam.Reshuffle()  # a range is one element: let all workers encode
        | "EncodeTexts" >> RunInference(handler)
        | "KeepVectors"
        >> beam.FlatMap(_kept_vectors, cache).with_outputs(STATISTICS, main="vectors")
    )
    return {
        "vectors": (looked_up[_CACHED], encoded["vectors"]) | "AllVectors" >> beam.Flatten(),
        STATISTICS: (looked_up[STATISTICS], encoded[STATISTICS]) | "TextCounts" >> beam.Flatten(),
    }


def _chunks(digests: list[bytes], size: int) -> Iterator[list[bytes]]:
    for start in range(0, len(digests), size):
        yield digests[start : start + size]


@dataclass(frozen=True)
class EncodingPlan:
    """Everything the pipeline needs to know. Folders are paths or URLs that all workers see.

    Attributes:
      encoder: configuration of the encoder.
      prepared: folder where the prepared encoder lies.
      accepted: folder with the accepted answers.
      cache: folder of kept vectors; None to look up and keep none.
      answers: number of accepted answers.
      writing: where the records belong.
    """

    encoder: Encoder
    prepared: str
    accepted: str
    cache: str | None
    answers: int
    writing: WritingPlan


def _usable_by_shard(texts: TextVectors, shards: int) -> Iterator[Any]:
    """Vectors of texts to (shard, records), tagged (group, vector) and dead letters."""
    usable, dead_letters = usable_vectors(texts.answers, texts.vectors, texts.refused)
    yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
    yield beam.pvalue.TaggedOutput(STATISTICS, {"usable": len(usable)})
    by_shard: dict[int, list[KnowledgeRecord]] = {}
    for answer, vector in usable:
        if answer.extraction == COLLECTIVE:
            yield beam.pvalue.TaggedOutput(COLLECTIVE, (answer.entity_id, vector))
        else:
            shard = entity_shard(answer.entity_id, shards)
            record = KnowledgeRecord(answer.entity_id, INDIVIDUAL, "", vector, answer.location)
            by_shard.setdefault(shard, []).append(record)
    yield from by_shard.items()


def build_encoding_pipeline(pipeline: beam.Pipeline, plan: EncodingPlan) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      plan: what to do.
    """
    shards = (
        pipeline
        | "AnswerShards" >> beam.Create(range(plan.writing.shards), reshuffle=False)
        | "SpreadShards" >> beam.Reshuffle()  # they were made in one place: let all workers read
    )
    encoded = encode_answers(
        shards, plan.encoder, plan.prepared, plan.accepted, plan.cache, plan.answers
    )
    usable = encoded["vectors"] | "KeepUsableVectors" >> beam.FlatMap(
        _usable_by_shard, plan.writing.shards
    ).with_outputs(STATISTICS, DEAD_LETTERS, COLLECTIVE, main=INDIVIDUAL)
    write_entity_vectors(
        plan.writing,
        usable[INDIVIDUAL],
        usable[COLLECTIVE],
        dead_letters=[usable[DEAD_LETTERS]],
        statistics=[encoded[STATISTICS], usable[STATISTICS]],
    )
