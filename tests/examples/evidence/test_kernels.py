from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import multivariate_normal

from examples.evidence.kernels import (
    Kernel,
    Ratings,
    _trials,
    blended_vectors,
    by_certainty,
    features,
    judged,
    learned_kernel,
    main,
    neighbour_vectors,
    probe,
    reaching_vectors,
    read_ratings,
    tfidf_vectors,
)
from models.reduction import unit_rows
from preprocessing.knowledge.vectors import KnowledgeRecord, write_knowledge
from preprocessing.links.linking import links_schema
from preprocessing.links.spectral import link_graph, spectral_vectors
from preprocessing.records.layout import WorkDirectory

USERS, ITEMS = 12, 9
NAMES = ("title_genres", "links", "collaborative")
SOURCES = sorted(
    {source for trials in _trials().values() for trial in trials for source in trial.sources}
)


@pytest.fixture
def ratings() -> Ratings:
    generator = np.random.default_rng(2)
    count = 20 * USERS
    vectors = generator.normal(size=[len(SOURCES), ITEMS, 4])
    vectors /= np.linalg.norm(vectors, axis=2, keepdims=True)
    return Ratings(
        users=np.repeat(np.arange(USERS), 20),
        items=generator.integers(0, ITEMS, count),
        residuals=generator.normal(size=count),
        labels=generator.integers(0, 2, count),
        base=generator.normal(size=[count, 3]),
        directions=dict(zip(SOURCES, vectors, strict=True)),
    )


def test_every_rating_is_predicted_from_those_before_it(ratings: Ratings) -> None:
    terms = (("links", 0.5), ("collaborative", 2.0)), (("title_genres", 1.0),)
    kernel = Kernel(terms, noise=0.7, bias=0.2, amplitudes=(0.6, 1.5))

    def between(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        titles, links, collaborative = (
            ratings.directions[name][first] @ ratings.directions[name][second].T - 1
            for name in NAMES
        )
        product = np.exp(links / 0.5) * np.exp(collaborative / 2.0)
        return 0.2 + 0.6 * product + 1.5 * np.exp(titles)

    actual = features(kernel, ratings)
    for row in (40, 41, 47, 59):
        # The third user's ratings begin at row 40, and nothing comes before the first.
        before, own = ratings.items[40:row], ratings.items[row : row + 1]
        weights = np.linalg.solve(
            between(before, before) + 0.7 * np.eye(len(before)), between(before, own)
        )[:, 0]
        mean = weights @ ratings.residuals[40:row]
        variance = between(own, own)[0, 0] - weights @ between(before, own)[:, 0]
        assert actual[row] == pytest.approx([mean, np.sqrt(variance)], abs=1e-9)


def test_as_many_landmarks_as_items_are_the_whole_kernel(ratings: Ratings) -> None:
    exact = Kernel(((("links", 0.5),),), noise=0.7, bias=0.2)
    by_landmarks = features(replace(exact, landmarks=ITEMS), ratings)
    np.testing.assert_allclose(by_landmarks, features(exact, ratings), atol=1e-3)
    with pytest.raises(ValueError, match="no amplitudes"):
        features(replace(exact, landmarks=2, amplitudes=(2.0,)), ratings)
    few = replace(exact, landmarks=2)
    assert few.low_rank(ratings.directions["links"]).shape == (ITEMS, 3)
    assert np.abs(features(few, ratings) - by_landmarks).max() > 0.01


def test_what_tells_the_label_is_found_by_users_it_was_not_fitted_to(ratings: Ratings) -> None:
    clue = ratings.labels[:, np.newaxis] + 0.01 * ratings.base[:, :1]
    assert judged([clue], ratings) == 1.0
    assert 0.3 < judged([], ratings) < 0.7


def test_few_ratings_let_links_speak() -> None:
    generator = np.random.default_rng(3)
    widths = dict(zip(NAMES, (2, 3, 4), strict=True))
    vectors = {name: generator.normal(size=[5, width]) for name, width in widths.items()}
    counts = np.array([0, 1, 40, 0, 300])
    blended = blended_vectors(vectors, counts, 20)
    titles, links, own = (vectors[name] for name in NAMES)
    inputs = np.concatenate(
        [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (links, titles)], axis=1
    )
    for item in range(5):
        others = np.delete(np.arange(5), item)
        weights = counts[others] / (counts[others] + 20)
        means = [weights @ rows[others] / weights.sum() for rows in (inputs, own)]
        centred, targets = inputs[others] - means[0], own[others] - means[1]
        slopes = np.linalg.solve(
            (centred.T * weights) @ centred + np.eye(5), (centred.T * weights) @ targets
        )
        predicted = means[1] + (inputs[item] - means[0]) @ slopes
        expected = (counts[item] * own[item] + 20 * predicted) / (counts[item] + 20)
        assert blended[item] == pytest.approx(expected, abs=1e-6)


def covariance(kernel: Kernel, ratings: Ratings, user: int) -> np.ndarray:
    items = ratings.items[ratings.users == user]
    result = kernel.noise * np.eye(len(items)) + kernel.bias
    for ((source, scale),), amplitude in zip(kernel.terms, kernel.amplitudes, strict=True):
        directions = ratings.directions[source][items]
        result += amplitude * np.exp((directions @ directions.T - 1) / scale)
    return result


def likelihood(kernel: Kernel, ratings: Ratings) -> float:
    """Log likelihood of all residuals, by SciPy's normal distribution."""
    return sum(
        multivariate_normal(cov=covariance(kernel, ratings, user)).logpdf(
            ratings.residuals[ratings.users == user]
        )
        for user in range(USERS)
    )


def test_no_kernel_near_the_learned_one_is_more_likely(ratings: Ratings) -> None:
    sources = ("links", "collaborative")
    planted = Kernel(((("links", 0.5),), (("collaborative", 1.5),)), 0.4, 0.5, (1.0, 2.0))
    drawn = np.concatenate(
        [
            multivariate_normal(cov=covariance(planted, ratings, user)).rvs(random_state=user)
            for user in range(USERS)
        ]
    )
    ratings = replace(ratings, residuals=drawn)
    learned = learned_kernel(sources, ratings)
    likely = likelihood(learned, ratings)
    assert likely > likelihood(planted, ratings)
    for factor in (0.8, 1.25):
        changed = [
            replace(learned, noise=learned.noise * factor),
            replace(learned, bias=learned.bias * factor),
            replace(learned, amplitudes=tuple(a * factor for a in learned.amplitudes)),
            replace(learned, terms=tuple(((s, w * factor),) for ((s, w),) in learned.terms)),
        ]
        assert all(likelihood(kernel, ratings) < likely + 1e-3 for kernel in changed)


def test_each_half_is_judged_by_what_the_other_tells(ratings: Ratings) -> None:
    clue = ratings.labels[:, np.newaxis] + 0.01 * ratings.base[:, :1]
    # Fitted to the first half, the clue says what it says; to the second, the opposite.
    assert judged([clue], ratings, [-clue]) == 1.0
    misread = np.where(ratings.in_first_half[:, np.newaxis], clue, -clue)
    assert judged([misread], ratings) < 0.2


def test_some_of_the_ratings_are_learned_from(
    ratings: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = ratings.of((ratings.users < 3) & (np.arange(20 * USERS) % 20 < 15))
    monkeypatch.setattr("examples.evidence.kernels._LEARNING_USERS", 3)
    monkeypatch.setattr("examples.evidence.kernels._LEARNING_RATINGS", 15)
    assert learned_kernel(("links",), ratings) == learned_kernel(("links",), few)


def test_a_mean_by_certainty() -> None:
    known = [np.array([[1.0, 0.5], [2.0, 1.0]]), np.array([[-1.0, 1.0], [4.0, 1.0]])]
    # Weights 4 and 1, then 1 and 1.
    assert by_certainty(known).tolist() == [[0.6], [3.0]]


def test_every_trial_has_an_auc(ratings: Ratings) -> None:
    found = probe(ratings)
    assert found["without"] == round(judged([], ratings), 5)
    names = {title: [trial.name for trial in trials] for title, trials in _trials().items()}
    learned = found["groups"].pop("Learned kernels")
    assert {title: list(trials) for title, trials in found["groups"].items()} == names
    sources = [" + ".join(kernel["sources"]) for kernel in found["learned"]]
    assert sources[:6:2] == sources[1:6:2] == ["title_genres", "links", "collaborative"]
    assert len(sources) == 12
    halves = [
        Kernel(
            ((("links", kernel["sources"]["links"]["length_scale"]),),),
            kernel["noise"],
            kernel["bias"],
            (kernel["sources"]["links"]["amplitude"],),
        )
        for kernel in found["learned"][2:4]
    ]
    columns = [[features(kernel, ratings)] for kernel in halves]
    expected = judged(columns[0], ratings, columns[1])
    assert learned["links"] == pytest.approx(expected, abs=1e-3)
    alone = round(judged([features(Kernel(((("links", 1.0),),)), ratings)], ratings), 5)
    groups = found["groups"]
    assert groups["Noise and length scale"]["links, noise 1, length scale 1"] == alone
    assert groups["Components of link vectors"]["links"] == alone
    assert groups["What the LLM was asked"]["links"] == alone


def test_what_has_no_vectors_is_not_tried(ratings: Ratings) -> None:
    few = replace(ratings, directions={name: ratings.directions[name] for name in NAMES})
    asked = probe(few)["groups"]["What the LLM was asked"]
    assert list(asked) == ["links", "links + title_genres"]


def test_neighbours_are_linked_to_each_other() -> None:
    """With as many components as items, products of vectors are (I - 0.9 S)^-1 about its mean."""
    generator = np.random.default_rng(4)
    count, neighbours = 30, 20
    collaborative = generator.normal(size=[count, 5])
    ids = np.arange(100, 100 + count)
    answers = np.zeros([count, count])
    answers[np.arange(count), (np.arange(count) + 7) % count] = 1.0
    item_of_link, linked = np.nonzero(answers)
    ranks = np.zeros_like(linked)
    links = link_graph([str(item) for item in ids], [], item_of_link, linked, ranks)

    directions = collaborative / np.linalg.norm(collaborative, axis=1, keepdims=True)
    named = np.zeros([count, count])
    for item, cosines in enumerate(directions @ directions.T):
        nearest = [other for other in np.argsort(-cosines) if other != item]
        for rank, other in enumerate(nearest[:neighbours]):
            named[item, other] = 1 / (1 + 0.05 * rank)
    centring = np.eye(count) - 1 / count
    for weights, vectors in zip(
        (named, named + answers), neighbour_vectors(collaborative, ids, links), strict=True
    ):
        symmetric = weights + weights.T
        roots = np.sqrt(symmetric.sum(axis=1))
        kernel = np.linalg.inv(np.eye(count) - 0.9 * symmetric / np.outer(roots, roots))
        expected = centring @ kernel @ centring
        np.testing.assert_allclose(vectors @ vectors.T, expected, atol=1e-3)


def test_reach_of_links() -> None:
    generator = np.random.default_rng(5)
    count = 12
    item_of_link, linked = np.nonzero(generator.random([count, count]) < 0.3)
    links = link_graph(
        [str(item) for item in range(count)], [], item_of_link, linked, np.zeros_like(linked)
    )
    weights = links.weights.toarray()
    roots = np.sqrt(weights.sum(axis=1))
    inverse = np.linalg.inv(np.eye(count) - 0.6 * weights / np.outer(roots, roots))
    vectors = reaching_vectors(spectral_vectors(links, count), count, 0.6, 3)
    np.testing.assert_allclose(vectors @ vectors.T, inverse @ inverse @ inverse, atol=1e-3)
    assert reaching_vectors(spectral_vectors(links, count), 4, 0.6, 3).shape == (count, 4)


def test_texts_with_the_same_words_are_near() -> None:
    texts = {"7": "a slow sea drama", "9": "a fast space chase", "8": "sea drama", "5": "space"}
    vectors = tfidf_vectors(texts, np.array([7, 8, 9, 6]))
    directions = unit_rows(vectors)
    assert directions[0] @ directions[1] > 0 > directions[0] @ directions[2]
    assert not vectors[3].any()


def write_vectors(work_dir: Path, vectors: dict[str, list[float]]) -> None:
    """Writes the vectors of all sources, the same for each."""
    records = [
        KnowledgeRecord(item, "individual", "", np.array(vector, np.float16).tobytes())
        for item, vector in vectors.items()
    ]
    for name in NAMES:
        write_knowledge(str(WorkDirectory(work_dir).knowledge(name).shard(0, 1)), records)


def test_what_is_prepared_is_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    lines = ["user_id,item_id,rating,position,part", "1,7,5,0,train", "1,8,2,1,train"]
    lines += ["2,7,1,0,validation", "2,8,4,1,validation", "3,9,5,0,test"]
    with gzip.open(tmp_path / "data/ratings.csv.gz", "wt") as file:
        file.write("\n".join(lines))
    films = ["7::A sea film (1990)::Drama", "8::A space film::Drama", "9::Else::War|Western"]
    (tmp_path / "data/movies.dat").write_text("\n".join(films))
    write_vectors(tmp_path, {"8": [4, 0], "7": [0, 3], "5": [2, 0]})
    links = [{"item": "7", "list": "links", "name": "Eight", "rank": 0, "linked": "8"}]
    path = tmp_path / "links/links/links.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(links, links_schema("item")), path)
    found = read_ratings(tmp_path)
    # Means of the training part alone.
    means = np.array([(5 + 5 * 3.5) / 6, (2 + 5 * 3.5) / 6])
    assert found.residuals == pytest.approx([1, 4] - means)
    assert found.labels.tolist() == [0, 1] and found.items.tolist() == [0, 1]
    assert found.base == pytest.approx(np.stack([means, np.log([2, 2]), np.log([1, 2])], axis=1))
    # About their mean, (2, 1), items 7 and 8 are at (-2, 2) and (2, -1); item 9 has no vector.
    cosine = -6 / np.sqrt(8 * 5)
    for name in NAMES:
        expected = [[1, cosine, 0], [cosine, 1, 0], [0, 0, 0]]
        directions = found.directions[name]
        np.testing.assert_allclose(directions @ directions.T, expected, atol=1e-6)
    made = {"blended_20", "blended_100", "blended_400", "neighbours", "links_joined"}
    made |= {f"links_{count}_components" for count in (8, 16, 32, 64, 96)}
    reaching = {name for name in found.directions if "_damping_" in name}
    assert len(reaching) == 17
    assert set(found.directions) == {*NAMES, *made, *reaching, "title_genres_tfidf"}


def test_what_is_not_prepared_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--out", str(tmp_path)]) == 2
    assert "python -m examples.evidence run main' prepares it" in capsys.readouterr().err
