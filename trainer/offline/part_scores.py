"""Scores of a part as tables, batch by batch, with what slices divide them by."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from configs.scenario import Scenario
from preprocessing.records.example_features import features_of
from preprocessing.records.layout import WorkDirectory
from trainer.list_predictions import ListPredictions
from trainer.offline.example_columns import ExampleColumns
from trainer.offline.sample_sums import LIST_ID
from trainer.predictions import Predictions


@dataclass(frozen=True)
class PartScores:
    """What a model says about a part.

    Attributes:
      scenario: names the data.
      part: train, validation or test.
      kind: of the model and its examples: ctr, rerank or retrieval.
      tasks: further labels that it scores.
      predictions: some examples at a time, in the order of the files; they can be read once.
    """

    scenario: Scenario
    part: str
    kind: str
    tasks: Sequence[str]
    predictions: Iterable[Predictions]

    def tables(self, features: Sequence[str] = ()) -> Iterator[pa.Table]:
        """Predictions as tables that can stand below each other.

        Args:
          features: names of features of the examples that become columns too.
        """
        columns = self._example_columns(features) if features else None
        first_list = 0
        for predictions in self.predictions:
            table, examples = predictions.table(), len(predictions.user_ids)
            example_of_row = np.arange(table.num_rows)
            if isinstance(predictions, ListPredictions):
                lists = table[LIST_ID]
                place = table.schema.get_field_index(LIST_ID)
                table = table.set_column(place, LIST_ID, pc.add(lists, first_list))
                example_of_row = lists.to_numpy()
                first_list += examples
            if columns is not None:
                found = columns.take(examples).take(example_of_row)
                for name in found.column_names:
                    table = table.append_column(name, found[name])
            yield table

    def _example_columns(self, names: Sequence[str]) -> ExampleColumns:
        features = {feature.name: feature for feature in features_of(self.kind, self.scenario.data)}
        files = WorkDirectory(self.scenario.work_dir).examples.shards(self.part, self.kind)
        return ExampleColumns(files, [features[name] for name in names])
