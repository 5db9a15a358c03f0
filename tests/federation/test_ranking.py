import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.ranking import Candidates, rank_sources
from federation.task_card import TaskCard


def candidates(**values):
    cards = {
        "a/t": TaskCard("t", 10, modality="X-ray", body_part="chest", keywords=("lung",)),
        "b/t": TaskCard("t", 10, modality="x-ray", keywords=("Lung", "heart")),
    }
    return Candidates("a/t", ["b/t", "c/t", "d/t"], {k: np.array(v) for k, v in values.items()}, cards)


def test_sources_are_ranked_nearest_first():
    ranking = rank_sources(candidates(js=[0.3, 0.1, 0.2]), "js")
    assert [(r.source, r.rank, r.value) for r in ranking] == [
        ("c/t", 1, 0.1),
        ("d/t", 2, 0.2),
        ("b/t", 3, 0.3),
    ]


def test_ties_are_ordered_by_address_and_nan_comes_last():
    ranking = rank_sources(candidates(js=[np.nan, 0.2, 0.2]), "js")
    assert [r.source for r in ranking] == ["c/t", "d/t", "b/t"]


def test_reasons_name_rank_and_shared_card_fields():
    best = rank_sources(candidates(js=[0.1, 0.2, 0.3], emd=[2.0, 1.0, 3.0]), "js")[0]
    assert best.reasons == ("nearest of 3 by js", "same modality (X-ray)", "shared keywords: lung")


def test_agreement_of_other_distances_counts_only_among_more_than_three_sources():
    sources = [f"{site}/t" for site in "bcdef"]
    values = {"js": np.arange(5.0), "emd": np.arange(5.0), "l2": np.arange(5.0)[::-1]}
    ranking = rank_sources(Candidates("a/t", sources, values, {}), "js")
    assert ranking[0].reasons == (
        "nearest of 5 by js",
        "among the nearest 3 by 1 of 2 other distances",
    )


def test_ties_are_named():
    ranking = rank_sources(candidates(js=[0.1, 0.1, 0.3]), "js")
    assert [("tied with 1 other" in choice.reasons) for choice in ranking] == [True, True, False]


def described(**sizes):
    """Sources of these sizes; the largest last by address."""
    cards = {f"{site}/t": TaskCard("t", 5, {"x": n}) for site, n in sizes.items()}
    return lambda **values: Candidates(
        "a/t", list(cards), {name: np.array(column) for name, column in values.items()}, cards
    )


def test_equal_keyword_distances_are_ordered_by_size_larger_first():
    possible = described(b=10, c=900, d=20)
    ranking = rank_sources(possible(semantic=[0.5, 0.5, 0.2]), "semantic")
    assert [r.source for r in ranking] == ["d/t", "c/t", "b/t"]
    ranking = rank_sources(possible(js=[0.5, 0.5, 0.2]), "js")
    assert [r.source for r in ranking] == ["d/t", "b/t", "c/t"]


def test_a_distance_that_ties_every_source_counts_none_among_the_nearest():
    possible = described(b=1, c=1, d=1, e=1, f=1)
    ranking = rank_sources(possible(js=np.arange(5.0), semantic=np.ones(5)), "js")
    assert ranking[0].reasons[1] == "among the nearest 3 by 0 of 1 other distances"


def noisy(values, errors):
    sources = [f"{site}/t" for site in "bcdefgh"[: len(values)]]
    found = Candidates("a/t", sources, {"l2": np.array(values)}, {}, {"l2": np.array(errors)})
    return rank_sources(found, "l2")


def test_sources_closer_than_two_errors_of_their_difference_are_not_told_apart():
    ranking = noisy([1.0, 1.27, 1.3, 2.0], [0.1, 0.1, 0.1, 0.1])  # 2·√2·0.1 = 0.283
    assert [choice.ties for choice in ranking] == [((1, 2),), ((1, 3),), ((2, 3),), ()]
    assert [choice.standard_error for choice in ranking] == [0.1] * 4
    assert ranking[1].reasons == ("rank 2 of 4 by l2", "noise cannot tell it from rank 1–3")
    assert ranking[3].reasons == ("rank 4 of 4 by l2",)


def test_a_certain_source_between_uncertain_ones_leaves_a_gap():
    ranking = noisy([1.0, 1.2, 1.3], [0.15, 0.0, 0.15])
    assert ranking[0].ties == ((1, 3),)
    assert noisy([1.0, 1.35, 1.4], [0.15, 0.0, 0.15])[0].ties == ((1, 1), (3, 3))
    assert "noise cannot tell it from rank 1, 3" in noisy([1.0, 1.35, 1.4], [0.15, 0.0, 0.15])[0].reasons


def test_exact_and_unknown_sources_are_never_ties_by_noise():
    assert [choice.ties for choice in noisy([1.0, 1.0, 1.1], [0.0, 0.0, 0.0])] == [()] * 3
    unknown = noisy([1.0, 1.01, np.nan], [np.nan, 5.0, 5.0])
    assert [choice.ties for choice in unknown] == [()] * 3
    assert [choice.standard_error for choice in unknown] == [None, 5.0, 5.0]
    assert "how far noise moves it is not known" in unknown[0].reasons


def test_without_standard_errors_nothing_is_said_about_noise():
    choice = rank_sources(candidates(js=[0.1, 0.1, 0.3]), "js")[0]
    assert (choice.standard_error, choice.ties) == (None, ())
    assert not any("noise" in reason for reason in choice.reasons)


@settings(max_examples=50)
@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1)), min_size=1, max_size=7))
def test_not_being_told_apart_is_mutual(pairs):
    ranking = noisy([value for value, _ in pairs], [error for _, error in pairs])
    tied = [{rank for first, last in choice.ties for rank in range(first, last + 1)} for choice in ranking]
    for i, ours in enumerate(tied, start=1):
        assert all(i in tied[j - 1] for j in ours)
        assert not ours or i in ours
