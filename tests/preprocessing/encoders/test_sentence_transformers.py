"""The adapter without its library, and with it where it is installed."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

from configs.command_line import CommandError
from configs.knowledge import Encoder
from configs.loading import ConfigurationError
from preprocessing.encoders import minilm
from preprocessing.encoders.sentence_transformers import SentenceTransformersEncoder, pool_states

WORDS = "noir space ship love war dog rain city gun song old new red night train sea".split()
with_library = pytest.mark.skipif(
    importlib.util.find_spec("sentence_transformers") is None,
    reason="needs pip install -r requirements-encoders.txt",
)


def some_texts(number: int) -> list[str]:
    rng = np.random.default_rng(number)
    return [" ".join(rng.choice(WORDS, size)) for size in rng.integers(1, 60, number)]


def settings_for(folder: Path, **changed: object) -> Encoder:
    defaults = {"kind": "sentence-transformers", "model": str(folder), "batch_size": 4}
    return Encoder(**{**defaults, **changed})


def test_a_missing_library_names_the_requirements(monkeypatch):
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    with pytest.raises(CommandError, match=r"pip install -r requirements-encoders\.txt"):
        SentenceTransformersEncoder.identity(settings_for(Path("absent")))


def test_elements_hold_many_batches():
    per_element = SentenceTransformersEncoder.texts_per_element
    assert per_element(settings_for(Path(), batch_size=8)) == 512
    assert per_element(settings_for(Path(), batch_size=64)) == 2048


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT with random weights, saved as the hub's models are."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    torch.manual_seed(3)
    config = transformers.BertConfig(
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=64,
        attention_probs_dropout_prob=0.5,
    )
    transformers.BertModel(config).save_pretrained(folder)
    vocabulary = Path(minilm.__file__).with_name("bert_base_uncased_vocab.txt")
    transformers.BertTokenizerFast(str(vocabulary)).save_pretrained(folder)
    return folder


def plain_states(folder: Path, windows: list[list[int]]) -> list[np.ndarray]:
    """Last hidden states [tokens, 12] of each window alone, without padding."""
    import torch
    from transformers import BertModel

    network = BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        return [
            network(input_ids=torch.tensor([window])).last_hidden_state[0].numpy()
            for window in windows
        ]


@with_library
@pytest.mark.slow
@pytest.mark.parametrize(
    ("pooling", "pool"),
    [
        ("mean", lambda states: states.mean(axis=0)),
        ("first", lambda states: states[0]),
        ("maximum", lambda states: states.max(axis=0)),
        ("last", lambda states: states[-1]),
    ],
)
def test_pooling_is_over_real_tokens_of_the_last_hidden_state(bert, pooling, pool):
    settings = settings_for(bert, pooling=pooling, maximum_tokens=40)
    texts = some_texts(9)
    tokenizer = minilm.build_tokenizer(40)
    windows = [tokenizer.encode(text).ids for text in texts]
    assert len(set(map(len, windows))) > 4
    expected = [pool(states) for states in plain_states(bert, windows)]
    encoded = SentenceTransformersEncoder.load(settings, "").encode(texts)
    assert encoded.vectors.dtype == np.float32
    np.testing.assert_allclose(encoded.vectors, expected, atol=2e-6)


@with_library
@pytest.mark.slow
def test_chunks_are_averaged_by_their_tokens(bert):
    settings = settings_for(bert, maximum_tokens=10, long_texts="chunk")
    text = " ".join(WORDS * 2)
    content = minilm.build_tokenizer(64).encode(text).ids[1:-1]
    windows = [[101, *content[start : start + 8], 102] for start in range(0, len(content), 8)]
    assert len(windows) == 4
    states = plain_states(bert, windows)
    (vector,) = SentenceTransformersEncoder.load(settings, "").encode([text]).vectors
    np.testing.assert_allclose(vector, np.concatenate(states).mean(axis=0), atol=2e-6)


@with_library
@pytest.mark.slow
@pytest.mark.parametrize("changed", [{"maximum_tokens": 16}, {"long_texts": "chunk"}, {}])
def test_a_vector_does_not_depend_on_the_other_texts(bert, changed):
    encoder = SentenceTransformersEncoder.load(
        settings_for(bert, **{"maximum_tokens": 32, **changed}), ""
    )
    texts = some_texts(40)
    whole = encoder.encode(texts).vectors.astype(np.float16)
    order = np.random.default_rng(0).permutation(len(texts))
    shuffled = encoder.encode([texts[place] for place in order]).vectors.astype(np.float16)
    np.testing.assert_array_equal(shuffled, whole[order])
    alone = [encoder.encode([text]).vectors[0].astype(np.float16) for text in texts]
    np.testing.assert_array_equal(alone, whole)


@with_library
@pytest.mark.slow
def test_the_identity_knows_weights_and_settings(bert, tmp_path):
    import torch
    from transformers import BertModel, BertTokenizerFast

    settings = settings_for(bert, maximum_tokens=32)
    identity = SentenceTransformersEncoder.identity(settings)
    assert identity == SentenceTransformersEncoder.identity(settings)
    other = BertModel.from_pretrained(bert)
    with torch.no_grad():
        other.embeddings.word_embeddings.weight[5, 5] += 1
    other.save_pretrained(tmp_path)
    BertTokenizerFast.from_pretrained(bert).save_pretrained(tmp_path)
    changed = SentenceTransformersEncoder.identity(settings_for(tmp_path, maximum_tokens=32))
    assert changed["weights_sha256"] != identity["weights_sha256"]
    assert changed["tokenizer_sha256"] == identity["tokenizer_sha256"]
    pooled = SentenceTransformersEncoder.identity(
        settings_for(bert, maximum_tokens=32, pooling="first")
    )
    assert pooled != identity


@with_library
@pytest.mark.slow
def test_what_cannot_work_is_explained(bert, tmp_path):
    with pytest.raises(ConfigurationError, match="reads at most 64 tokens"):
        SentenceTransformersEncoder.identity(settings_for(bert, maximum_tokens=65))
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(CommandError, match=r"knowledge.encoder.model: '.*' cannot be loaded"):
        SentenceTransformersEncoder.identity(settings_for(tmp_path))


@with_library
@pytest.mark.slow
def test_no_texts(bert):
    encoder = SentenceTransformersEncoder.load(settings_for(bert, maximum_tokens=32), "")
    assert encoder.encode([]).vectors.shape == (0, 12)


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2, 4], [7, 6]]),
        ("first", [[1, 2], [7, 6]]),
        ("maximum", [[3, 6], [7, 6]]),
        ("last", [[3, 6], [7, 6]]),
    ],
)
def test_padding_counts_for_nothing(pooling, expected):
    torch = pytest.importorskip("torch", reason="needs pip install -r requirements-encoders.txt")
    states = torch.tensor(
        [[[1.0, 2.0], [3.0, 6.0], [90.0, -90.0]], [[7.0, 6.0], [90.0, 90.0], [90.0, 90.0]]]
    )
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    assert pool_states(states, mask, pooling).tolist() == expected
