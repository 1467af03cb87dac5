"""The models whose rankings stand beside each other: trained runs and versions of exports."""

from __future__ import annotations

import json
import shlex
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_recommenders as tfrs
from typing_extensions import override

from configs.loading import ConfigurationError
from configs.scenario import Scenario
from configs.serving import ALWAYS_TAKEN
from models.adapters.source_network import GatedAdapter
from models.knowledge import MISSING_ROW
from models.ranking import RankingModel
from serving.client.errors import RankingError
from serving.client.inputs import InputKind, ModelInputs, UserRequest, rank_inputs
from serving.export_manifest import read_manifest
from serving.id_index import IDS
from serving.match_explanation import (
    MatchContributions,
    match_contributions,
    trained_contributions,
)
from serving.request_features import input_specifications, request_features
from serving.serving_module import ONE_USER
from trainer.evaluation.exports import export_scores, load_saved_model, saved_model_in
from trainer.evaluation.runs import run_scores
from trainer.examples import ExampleStore
from trainer.predictions import Predictions, SamplePredictions
from trainer.run_folder import RunFolder

_SIGNATURE = "rank"


@dataclass(frozen=True)
class Gates:
    """How an adapter mixes its experts for one item or user.

    Attributes:
      source: of the knowledge.
      num_shared_experts: how many of the experts, the first ones, serve all sources.
      shares: float32 [experts], which add up to 1.
    """

    source: str
    num_shared_experts: int
    shares: np.ndarray


class Ranker(ABC):
    """A model that scores each candidate alone.

    Attributes:
      name: what pages call it.
      path: the run folder, or the folder of a version.
      inputs: how its requests are written.
      scenario: of the run; None of an export, which does not know its data.
      largest_request: candidates that are scored at once.
    """

    largest_request = ALWAYS_TAKEN

    def __init__(self, name: str, path: Path, inputs: ModelInputs, scenario: Scenario | None):
        self.name = name
        self.path = path
        self.inputs = inputs
        self.scenario = scenario

    def scores(self, user: UserRequest, items: Sequence[str]) -> np.ndarray:
        """Probabilities, float32 [items].

        Raises:
          serving.client.errors.RankingError: an id is no number, and the model's are.
        """
        if not items:
            return np.zeros(0, np.float32)
        parts = [
            self._request(user, items[start : start + self.largest_request], self.inputs)
            for start in range(0, len(items), self.largest_request)
        ]
        return np.concatenate(
            [
                self._probabilities({name: tf.constant(values) for name, values in part.items()})
                for part in parts
            ]
        )

    @property
    def served_inputs(self) -> ModelInputs:
        """How requests of an export of it are written."""
        return self.inputs

    def _request(
        self, user: UserRequest, items: Sequence[str], inputs: ModelInputs
    ) -> dict[str, np.ndarray]:
        """The inputs of a request; of the profile, the attributes that the model reads."""
        read = {name: user.profile.get(name) for name in inputs.profile}
        return rank_inputs(replace(user, profile=read), items, inputs)

    @abstractmethod
    def _probabilities(self, raw: Mapping[str, tf.Tensor]) -> np.ndarray:
        """Scores of one request."""

    @abstractmethod
    def contributions(
        self, user: UserRequest, items: Sequence[str]
    ) -> dict[str, MatchContributions]:
        """What each rating adds to the match, by source.

        Raises:
          ConfigurationError: the match is no such sum, or there is none.
        """

    @abstractmethod
    def predictions(self, scenario: Scenario, part: str) -> SamplePredictions:
        """Scores of all samples of a part."""

    def gates(self, entity: str, entity_id: str) -> list[Gates]:
        """How the experts are mixed for an "item" or "user", by source that knows it.

        It is empty where there are no experts; an export has their results only.
        """
        return []

    def curl(self, user: UserRequest, items: Sequence[str], model: str) -> str:
        """The command that asks TensorFlow Serving for the same scores; a comment if none can.

        Args:
          user: who asks.
          items: raw ids.
          model: its name there.
        """
        try:
            inputs = self._request(user, items, self.served_inputs)
        except RankingError as error:
            return f"# {error}"
        body = {
            "signature_name": _SIGNATURE,
            "inputs": {name: values.tolist() for name, values in inputs.items()},
        }
        url = f"http://127.0.0.1:8501/v1/models/{model}:predict"
        return f"curl --data {shlex.quote(json.dumps(body))} {shlex.quote(url)}"


class RunRanker(Ranker):
    """A trained run."""

    largest_request = 8192

    def __init__(self, path: Path, store: ExampleStore):
        """Loads the model.

        Raises:
          trainer.run_folder.RunFolderError: the run is not complete, or its data has changed.
          ConfigurationError: the model is of another kind.
        """
        scenario, model = RunFolder(path).load_model(store.tables)
        if model.kind != RankingModel.kind:
            raise _wrong_kind(path, model.kind)
        preparation = model.inputs_preparation
        profile = {
            name: attribute.kind == "categorical"
            for name, attribute in preparation.profile_attributes.items()
        }
        inputs = ModelInputs(profile, ratings=preparation.has_ratings)
        super().__init__(path.name, path, inputs, scenario)
        self._model: tfrs.models.Model = model
        read = request_features(preparation, model.kind)
        specifications = input_specifications(read, ONE_USER, [None])
        self._compiled = tf.function(
            model.probabilities, input_signature=[specifications], autograph=False
        )

    @property
    @override
    def served_inputs(self) -> ModelInputs:
        assert self.scenario is not None
        if self.scenario.serving.id_type == "string":
            return self.inputs
        return replace(self.inputs, integers=frozenset(IDS))

    @override
    def _probabilities(self, raw: Mapping[str, tf.Tensor]) -> np.ndarray:
        return self._compiled(dict(raw)).numpy()

    @override
    def contributions(
        self, user: UserRequest, items: Sequence[str]
    ) -> dict[str, MatchContributions]:
        return trained_contributions(self._model.inputs_preparation, user, items, self.path)

    @override
    def predictions(self, scenario: Scenario, part: str) -> SamplePredictions:
        return _joined(run_scores(self.scenario or scenario, self._model, part).predictions)

    @override
    def gates(self, entity: str, entity_id: str) -> list[Gates]:
        adapter, preparation = self._model.adapter, self._model.inputs_preparation
        if not isinstance(adapter, GatedAdapter):
            return []
        ids = tf.constant([entity_id])
        if entity == "item":
            rows = preparation.item_knowledge_rows(preparation.catalogue.rows(ids))
        else:
            rows = preparation.user_rows(ids)
        rows_with_knowledge = {
            source: row for source, row in rows.items() if row.numpy()[0] != MISSING_ROW
        }
        shared = adapter.network.num_shared_experts
        return [
            Gates(source, shared, shares.numpy()[0])
            for source, shares in adapter.gates(rows_with_knowledge).items()
        ]


class ExportRanker(Ranker):
    """A version of an export."""

    def __init__(self, path: Path):
        """Loads the model.

        Raises:
          CommandError: the folder has no manifest, see `serving.export_manifest`.
          ConfigurationError: the model is of another kind.
        """
        kind = read_manifest(path)["model"]["kind"]
        if kind != RankingModel.kind:
            raise _wrong_kind(path, kind)
        self._loaded: Any = load_saved_model(path)
        self._rank = self._loaded.signatures[_SIGNATURE]
        _, specifications = self._rank.structured_input_signature
        kinds = {tf.string: InputKind.STRINGS, tf.int64: InputKind.INTEGERS}
        inputs = ModelInputs.of_kinds(
            {
                name: kinds.get(specification.dtype, InputKind.NUMBERS)
                for name, specification in specifications.items()
            }
        )
        super().__init__(f"{path.parent.name}/{path.name}", path, inputs, None)

    @override
    def _probabilities(self, raw: Mapping[str, tf.Tensor]) -> np.ndarray:
        return self._rank(**raw)["score"].numpy()

    @override
    def contributions(
        self, user: UserRequest, items: Sequence[str]
    ) -> dict[str, MatchContributions]:
        return match_contributions(self.path, user, items)

    @override
    def predictions(self, scenario: Scenario, part: str) -> SamplePredictions:
        return _joined(export_scores(self.path, scenario, part).predictions)


def open_ranker(folder: Path, store: ExampleStore) -> Ranker:
    """Loads a run, or a version of an export: of a model base path the highest.

    Args:
      folder: names it.
      store: keeps the tables that runs over one work directory share.

    Raises:
      ConfigurationError: there is nothing, or a model that does not score candidates alone.
      CommandError: what is there is damaged.
    """
    version = saved_model_in(folder)
    if version is None:
        return RunRanker(folder.absolute(), store)
    return ExportRanker(version.absolute())


def _wrong_kind(path: Path, kind: str) -> ConfigurationError:
    return ConfigurationError(
        f"{path}: a model of kind '{kind}' cannot be explored; ranking models, which score each "
        "candidate alone, can"
    )


def _joined(batches: Iterable[Predictions]) -> SamplePredictions:
    parts = [batch for batch in batches if isinstance(batch, SamplePredictions)]
    return SamplePredictions(
        np.concatenate([part.user_ids for part in parts]),
        np.concatenate([part.item_ids for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.scores for part in parts]),
    )
