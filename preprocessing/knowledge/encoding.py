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


class ReadAccepted(beam.DoFn):
    """Shard number to (range, [(hash, text, answer)])."""

    def __init__(self, folder: str, ranges: int):
        super().__init__()
        self._folder = folder
        self._ranges = ranges

    @override
    def process(self, element: int) -> Iterator[Any]:
        by_range: dict[int, list[tuple[bytes, str, Answer]]] = {}
        waiting = 0
        for answer in read_accepted(accepted_file(self._folder, element)):
            digest = text_hash(answer.text)
            entries = by_range.setdefault(prefix_of(digest) * self._ranges // PREFIXES, [])
            entries.append((digest, answer.text, replace(answer, text="")))
            waiting += 1
            if waiting == _ANSWERS_PER_ELEMENT:
                yield from by_range.items()
                by_range, waiting = {}, 0
        yield from by_range.items()


class ListCache(beam.DoFn):
    """Folder of kept vectors to (range, file), a file once for every range that it reaches into."""

    def __init__(self, ranges: int):
        super().__init__()
        self._ranges = ranges

    @override
    def process(self, element: str) -> Iterator[tuple[int, CacheFile]]:
        for file in list_cache(element):
            first, last = (index * self._ranges // PREFIXES for index in (file.first, file.last))
            for number in range(first, last + 1):
                yield number, file


class LookUp(beam.DoFn):
    """A range's texts to (answers, texts) to encode, tagged `TextVectors` of those in the cache.

    Args:
      texts_per_element: texts to encode in one element.
      cache: folder of kept vectors; None when there is none.
      ranges: number of ranges.
    """

    def __init__(self, texts_per_element: int, cache: str | None, ranges: int):
        super().__init__()
        self._texts_per_element = texts_per_element
        self._cache = cache
        self._ranges = ranges

    @override
    def process(self, element: tuple[int, dict[str, Iterable[Any]]]) -> Iterator[Any]:
        number, grouped = element
        texts: dict[bytes, str] = {}
        answers: dict[bytes, list[Answer]] = {}
        for batch in grouped[_TEXTS]:
            for digest, text, answer in batch:
                texts[digest] = text
                answers.setdefault(digest, []).append(answer)
        if not texts:
            return
        cached = self._cached(number, texts.keys(), grouped[_FILES])
        counts = {"texts": len(texts), "texts_from_cache": len(cached)}
        yield beam.pvalue.TaggedOutput(STATISTICS, counts)
        for digests in _chunks(sorted(cached), _ANSWERS_PER_ELEMENT):
            vectors = np.stack([cached[digest] for digest in digests])
            kept = TextVectors([answers[digest] for digest in digests], vectors)
            yield beam.pvalue.TaggedOutput(_CACHED, kept)
        for digests in _chunks(sorted(texts.keys() - cached.keys()), self._texts_per_element):
            yield (
                [(digest, answers[digest]) for digest in digests],
                [texts[digest] for digest in digests],
            )

    def _cached(
        self, number: int, texts: Set[bytes], files: Iterable[CacheFile]
    ) -> dict[bytes, np.ndarray]:
        """Kept vectors of a range's texts; merges the range's small files on the way."""
        cached: dict[bytes, np.ndarray] = {}
        if self._cache is None:
            return cached
        first, last = (-(-index * PREFIXES // self._ranges) for index in (number, number + 1))
        small = SmallFiles(self._cache, first, last - 1)
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
            listed = list_cache(self._cache) if gone else []
            waiting = [
                file
                for file in listed
                if file.path not in read and file.first < last and file.last >= first
            ]
        return cached


class KeepVectors(beam.DoFn):
    """Encoder output to `TextVectors`; good vectors are kept at once, a file for each element.

    Args:
      cache: folder for them; None to keep none.
    """

    def __init__(self, cache: str | None):
        super().__init__()
        self._cache = cache

    @override
    def process(self, element: tuple[AnswersOfTexts, EncodedTexts]) -> Iterator[Any]:
        answers, encoded = element
        rounded, good = round_vectors(encoded.vectors)
        if self._cache is not None and good.any():
            hashes = [answers[row][0] for row in np.flatnonzero(good)]
            write_vectors(self._cache, hashes, rounded[good], encoded.tokens)
        counts = {"texts_encoded": len(answers), "tokens": encoded.tokens}
        yield beam.pvalue.TaggedOutput(STATISTICS, counts)
        yield TextVectors(
            [text_answers for _, text_answers in answers], rounded, dict(encoded.refused)
        )


class EncodeAnswers(beam.PTransform):
    """Shard numbers of accepted answers to `TextVectors`.

    Args:
      encoder: configuration of the encoder.
      prepared: folder where the prepared encoder lies.
      accepted: folder with the accepted answers.
      cache: folder of kept vectors; None to look up and keep none.
      texts: number of accepted answers.
    """

    def __init__(
        self, encoder: Encoder, prepared: str, accepted: str, cache: str | None, texts: int
    ):
        super().__init__()
        self._encoder = encoder
        self._prepared = prepared
        self._accepted = accepted
        self._cache = cache
        self._ranges = number_of_ranges(texts)

    @override
    def expand(self, shards: beam.PCollection) -> dict[str, beam.PCollection]:
        """Encodes texts: collections "vectors" and "statistics", the latter a list."""
        texts = shards | "ReadAccepted" >> beam.ParDo(ReadAccepted(self._accepted, self._ranges))
        files = (
            shards.pipeline
            | "CacheFolder" >> beam.Create([self._cache] if self._cache else [])
            | "ListCache" >> beam.ParDo(ListCache(self._ranges))
        )
        per_element = encoder_class(self._encoder.kind).texts_per_element(self._encoder)
        looked_up = (
            {_TEXTS: texts, _FILES: files}
            | "ByHash" >> beam.CoGroupByKey()
            | "LookUp"
            >> beam.ParDo(LookUp(per_element, self._cache, self._ranges)).with_outputs(
                STATISTICS, _CACHED, main="missing"
            )
        )
        handler: ModelHandler = KeyedModelHandler(EncoderHandler(self._encoder, self._prepared))
        encoded = (
            looked_up["missing"]
            | "SpreadTexts" >> beam.Reshuffle()  # a range is one element: let all workers encode
            | "EncodeTexts" >> RunInference(handler)
            | "KeepVectors"
            >> beam.ParDo(KeepVectors(self._cache)).with_outputs(STATISTICS, main="vectors")
        )
        return {
            "vectors": (looked_up[_CACHED], encoded["vectors"]) | "AllVectors" >> beam.Flatten(),
            STATISTICS: (looked_up[STATISTICS], encoded[STATISTICS])
            | "TextCounts" >> beam.Flatten(),
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


class KeepUsableVectors(beam.DoFn):
    """Vectors of texts to (shard, records), tagged (group, vector) and dead letters."""

    def __init__(self, shards: int):
        super().__init__()
        self._shards = shards

    @override
    def process(self, element: TextVectors) -> Iterator[Any]:
        usable, dead_letters = usable_vectors(element.answers, element.vectors, element.refused)
        yield beam.pvalue.TaggedOutput(DEAD_LETTERS, dead_letters)
        yield beam.pvalue.TaggedOutput(STATISTICS, {"usable": len(usable)})
        by_shard: dict[int, list[KnowledgeRecord]] = {}
        for answer, vector in usable:
            if answer.extraction == COLLECTIVE:
                yield beam.pvalue.TaggedOutput(COLLECTIVE, (answer.entity_id, vector))
            else:
                shard = entity_shard(answer.entity_id, self._shards)
                record = KnowledgeRecord(answer.entity_id, INDIVIDUAL, "", vector, answer.location)
                by_shard.setdefault(shard, []).append(record)
        yield from by_shard.items()


def build_encoding_pipeline(pipeline: beam.Pipeline, plan: EncodingPlan) -> None:
    """Applies all transforms.

    Args:
      pipeline: an empty pipeline.
      plan: what to do.
    """
    encoded = (
        pipeline
        | "AnswerShards" >> beam.Create(range(plan.writing.shards), reshuffle=False)
        | "SpreadShards" >> beam.Reshuffle()  # they were made in one place: let all workers read
        | "EncodeAnswers"
        >> EncodeAnswers(plan.encoder, plan.prepared, plan.accepted, plan.cache, plan.answers)
    )
    usable = encoded["vectors"] | "KeepUsableVectors" >> beam.ParDo(
        KeepUsableVectors(plan.writing.shards)
    ).with_outputs(STATISTICS, DEAD_LETTERS, COLLECTIVE, main=INDIVIDUAL)
    write_entity_vectors(
        plan.writing,
        usable[INDIVIDUAL],
        usable[COLLECTIVE],
        dead_letters=[usable[DEAD_LETTERS]],
        statistics=[encoded[STATISTICS], usable[STATISTICS]],
    )
