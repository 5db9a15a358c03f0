"""What every distance of histograms must keep, whatever its formula; a new entry is picked up by itself."""

from pathlib import Path

import numpy as np
import pytest
from factories import make_fingerprint, make_identity, make_space

from federation import distances
from federation.distances.divergence import BinnedKld
from federation.errors import FingerprintError, SpaceMismatchError, UnknownNameError
from federation.sketches import KINDS, HistogramSketch

N_FEATURES, N_BINS = 7, 10
EDGES = np.linspace(0, 1, N_BINS + 1) + np.arange(N_FEATURES)[:, None] / 4

every_distance = pytest.mark.parametrize(
    "name", [name for name in distances.names() if distances.get(name).needs == HistogramSketch.kind]
)
every_entry = pytest.mark.parametrize("name", distances.names())


def random_sketch(seed, *, n=300, n_features=N_FEATURES, edges=EDGES):
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.full(N_BINS, 0.4), n_features)
    return HistogramSketch(np.stack([random.multinomial(n, share) for share in shares]), edges)


def spike(bin_, *, n=50):
    counts = np.zeros((N_FEATURES, N_BINS), dtype=np.int64)
    counts[:, bin_] = n
    return HistogramSketch(counts, EDGES)


def odd_sketches():
    one_image = HistogramSketch(np.eye(N_BINS, dtype=np.int64)[np.arange(N_FEATURES) % N_BINS], EDGES)
    return [spike(0), spike(N_BINS - 1), spike(4), one_image, random_sketch(5)]


def matrix(name, sources, targets):
    return distances.get(name).matrix(sources, targets)


@every_distance
def test_rows_are_sources_and_columns_are_targets(name):
    found = matrix(name, [random_sketch(i) for i in range(3)], [random_sketch(i) for i in range(5)])
    assert (found.shape, found.dtype) == ((3, 5), np.float64)
    assert distances.get(name).direction == "source→target"


@every_distance
def test_the_distance_to_itself_is_as_declared(name):
    tasks = [random_sketch(i) for i in range(6)]
    diagonal = np.diag(matrix(name, tasks, tasks))
    if distances.get(name).zero_self:
        np.testing.assert_allclose(diagonal, 0, atol=1e-10)
    else:
        assert (diagonal > 1e-3).all()


@every_distance
def test_symmetry_is_as_declared(name):
    skewed, flat = spike(2), random_sketch(1)
    there, back = matrix(name, [skewed], [flat])[0, 0], matrix(name, [flat], [skewed])[0, 0]
    if distances.get(name).symmetric:
        assert there == pytest.approx(back, abs=1e-12)
    else:
        assert abs(there - back) > 1e-3


@every_distance
def test_values_are_finite_for_disjoint_constant_and_one_image_histograms(name):
    tasks = odd_sketches()
    found = matrix(name, tasks, tasks)
    assert np.isfinite(found).all()
    if distances.get(name).non_negative:
        assert (found >= 0).all()


@every_distance
def test_the_order_of_features_does_not_matter(name):
    order = np.random.default_rng(0).permutation(N_FEATURES)

    def permuted(sketch):
        return HistogramSketch(sketch.counts[order], EDGES[order])

    a, b = random_sketch(1), random_sketch(2)
    assert matrix(name, [permuted(a)], [permuted(b)]) == pytest.approx(matrix(name, [a], [b]), abs=1e-12)


@every_distance
def test_the_order_of_bins_matters_exactly_where_declared(name):
    order = np.random.default_rng(3).permutation(N_BINS)

    def permuted(sketch):
        # Without edges the means would move with the bins; exact sums keep them where they are.
        return HistogramSketch(sketch.counts[:, order], feature_sums=np.full(N_FEATURES, 2**24))

    def plain(sketch):
        return HistogramSketch(sketch.counts, feature_sums=np.full(N_FEATURES, 2**24))

    a, b = random_sketch(1), random_sketch(2)
    moved = matrix(name, [permuted(a)], [permuted(b)]) - matrix(name, [plain(a)], [plain(b)])
    assert bool(abs(moved[0, 0]) > 1e-6) == distances.get(name).ordered_bins


@every_distance
def test_counting_every_image_twice_changes_nothing(name):
    a, b = random_sketch(1), random_sketch(2)
    assert matrix(name, [a + a], [b + b]) == pytest.approx(matrix(name, [a], [b]), abs=1e-12)


@every_distance
def test_a_new_task_gives_the_row_and_column_of_the_full_matrix(name):
    tasks = [random_sketch(i, n=100 + i) for i in range(9)]
    full = matrix(name, tasks, tasks)
    np.testing.assert_allclose(matrix(name, tasks[8:], tasks), full[8:], atol=1e-12)
    np.testing.assert_allclose(matrix(name, tasks, tasks[8:]), full[:, 8:], atol=1e-12)


@every_distance
def test_blocks_do_not_change_the_result(name, monkeypatch):
    tasks = [random_sketch(i) for i in range(40)]
    whole = matrix(name, tasks, tasks)
    monkeypatch.setattr("federation.distances.stack.PART", 50)
    constants = {"bilinear": ("TILE", "BLOCK"), "pairwise": ("TILE", "CURVE", "_SIDE")}
    values = {"TILE": 16, "BLOCK": 64, "_SIDE": 3, "CURVE": 20}
    for module, names in constants.items():
        for constant in names:
            monkeypatch.setattr(f"federation.distances.{module}.{constant}", values[constant])
    np.testing.assert_allclose(matrix(name, tasks, tasks), whole, atol=1e-12)


def entropic(a, b, eps=0.8):
    """Mean over features of Σ P|i − j| + eps KL(P ‖ a⊗b) of the plan that Sinkhorn's iteration ends with."""
    cost = np.abs(np.subtract.outer(np.arange(N_BINS), np.arange(N_BINS)))
    kernel, v = np.exp(-cost / eps), b
    for _ in range(2000):
        u = a / (v @ kernel)
        before, v = v, b / (u @ kernel)
        if np.abs(v - before).max() < 1e-12 * v.max():
            break
    plans = u[:, :, None] * kernel * v[:, None, :]
    ratio = np.where(plans > 0, plans, 1) / np.where(plans > 0, a[:, :, None] * b[:, None, :], 1)
    return (plans * (cost + eps * np.log(ratio))).sum() / len(a)


def naive(name, source, target):
    """The formulas, written down plainly for one pair."""
    h_s, h_t = source.frequencies(), target.frequencies()

    def kl(p, q):
        kept = p > 0
        return (p[kept] * np.log(p[kept] / q[kept])).sum()

    def clipped(h):
        h = np.maximum(h, 1e-4)
        return h / h.sum()

    def bkld(f):
        q = np.exp(h_s[f]) / np.exp(h_s[f]).sum()
        return kl(h_t[f], q)

    def js(f):
        m = (h_s[f] + h_t[f]) / 2
        return (kl(h_s[f], m) + kl(h_t[f], m)) / 2

    def cosine(f):
        return 1 - h_s[f] @ h_t[f] / np.linalg.norm(h_s[f]) / np.linalg.norm(h_t[f])

    cumulative = np.cumsum(h_s - h_t, axis=1)
    if name == "sinkhorn":
        return entropic(h_s, h_t) - entropic(h_s, h_s) / 2 - entropic(h_t, h_t) / 2
    per_feature = {
        "js": lambda f: js(f),
        "kld-clipped": lambda f: kl(clipped(h_t[f]), clipped(h_s[f])),
        "emd": lambda f: np.abs(cumulative[f]).sum(),
        "cramer": lambda f: (cumulative[f] ** 2).sum(),
        "l2": lambda f: ((h_s[f] - h_t[f]) ** 2).sum(),
        "l1": lambda f: np.abs(h_s[f] - h_t[f]).sum(),
        "cosine": cosine,
        "bkld-small": bkld,
        "bkld-large": bkld,
        "bkld-large-source": bkld,
    }[name]
    weights = {
        "bkld-small": np.exp(target.mean_features()),
        "bkld-large-source": source.mean_features(),
    }.get(name, np.ones(len(h_s)))
    return np.average([per_feature(f) for f in range(len(h_s))], weights=weights)


@every_distance
def test_all_pairs_agree_with_the_formula_written_down_for_one_pair(name):
    tasks = [random_sketch(i, n=50 + 100 * i) for i in range(8)] + odd_sketches()
    expected = [[naive(name, source, target) for target in tasks] for source in tasks]
    np.testing.assert_allclose(matrix(name, tasks, tasks), expected, atol=1e-11)


@every_distance
def test_values_beyond_the_outer_edges_count_in_the_outer_bins(name):
    random = np.random.default_rng(0)
    low, high = EDGES[:, 0], EDGES[:, -1]
    far = low + (high - low) * random.normal(0.5, 1, (80, N_FEATURES))
    assert ((far < low) | (far > high)).any(axis=0).all()
    near = np.clip(far, low, np.nextafter(high, low))
    other = random_sketch(1)
    beyond, inside = (HistogramSketch.from_features(x, EDGES) for x in (far, near))
    np.testing.assert_array_equal(matrix(name, [beyond], [other]), matrix(name, [inside], [other]))


@every_distance
def test_another_task_leaves_the_distances_of_the_others_as_they_were(name):
    tasks = [random_sketch(i) for i in range(4)]
    full = matrix(name, [*tasks, spike(9)], [*tasks, spike(9)])
    np.testing.assert_allclose(full[:4, :4], matrix(name, tasks, tasks), atol=1e-12)


@every_distance
def test_an_empty_histogram_is_refused(name):
    empty = HistogramSketch.zero(EDGES)
    with pytest.raises(FingerprintError, match="holds no images"):
        matrix(name, [random_sketch(1)], [empty])


@every_distance
def test_histograms_of_two_spaces_are_refused(name):
    other = HistogramSketch(np.ones((N_FEATURES, 2 * N_BINS), dtype=np.int64))
    with pytest.raises(SpaceMismatchError, match="7 features × 10 bins"):
        matrix(name, [random_sketch(1)], [other])
    shifted = random_sketch(2, edges=EDGES + 1)
    with pytest.raises(SpaceMismatchError, match="different edges"):
        matrix(name, [random_sketch(1)], [shifted])


@every_distance
def test_cells_that_noise_made_negative_give_finite_values(name):
    noisy = []
    for seed in range(4):
        noise = np.rint(np.random.default_rng(seed).normal(0, 5, (N_FEATURES, N_BINS))).astype(np.int64)
        noisy.append(HistogramSketch(random_sketch(seed).counts + noise, EDGES))
    assert (noisy[0].counts < 0).any()
    assert np.isfinite(matrix(name, noisy, noisy)).all()


@every_distance
def test_signed_features_give_finite_values(name):
    edges = EDGES - EDGES.mean()
    tasks = [random_sketch(i, edges=edges) for i in range(4)]
    assert (tasks[0].mean_features() < 0).any()
    found = matrix(name, tasks, tasks)
    assert np.isfinite(found).all()
    assert (found >= 0).all()


def test_a_source_whose_means_are_all_zero_weighs_features_equally():
    a, b = random_sketch(1), random_sketch(2)
    zero = HistogramSketch(a.counts, EDGES, np.zeros(N_FEATURES, dtype=np.int64))
    expected = matrix("bkld-large", [a], [b])
    assert matrix("bkld-large-source", [zero], [b]) == pytest.approx(expected, abs=1e-12)


@every_distance
def test_histograms_with_and_without_edges_do_not_mix(name):
    bare = HistogramSketch(random_sketch(1).counts)
    with pytest.raises(SpaceMismatchError, match="source 0 carries no bin edges"):
        matrix(name, [bare], [random_sketch(2)])


@every_distance
def test_fingerprints_of_two_spaces_are_refused_by_name(name, tmp_path):
    identity, ours, theirs = make_identity("a", tmp_path), make_space(), make_space(image_size=128)
    a, b = make_fingerprint(identity, "x", ours), make_fingerprint(identity, "y", theirs)
    with pytest.raises(SpaceMismatchError, match=r"a/x lives in space .* and a/y in space"):
        matrix(name, [a], [b])


@every_entry
def test_every_entry_says_what_it_is(name):
    distance = distances.get(name)
    assert distance.name == name
    assert distance.needs in {*KINDS, "card"}
    assert distance.formula
    assert distance.origin
    assert distance.noise


@every_entry
def test_the_reference_page_shows_the_entry_as_declared(name):
    page = (Path(__file__).parents[3] / "docs/distances.md").read_text()
    assert distances.markdown_table() in page
    assert f"`{name}`" in page


@every_distance
def test_fingerprints_are_compared_through_their_histograms(name, tmp_path):
    space = make_space()
    identity = make_identity("a", tmp_path)
    prints = [make_fingerprint(identity, f"t{i}", space, seed=i).bind(space) for i in range(3)]
    np.testing.assert_array_equal(
        matrix(name, prints, prints),
        matrix(name, [p.histogram for p in prints], [p.histogram for p in prints]),
    )


@every_distance
def test_no_tasks_give_an_empty_matrix(name):
    assert matrix(name, [], [random_sketch(1)]).shape == (0, 1)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(UnknownNameError, match=r"no distance 'nearest'.*cramer"):
        distances.get("nearest")


def test_uniform_weights_of_any_scale_give_the_same_bkld():
    a, b = random_sketch(1), random_sketch(2)
    light = HistogramSketch(a.counts, EDGES, np.full(N_FEATURES, 2**20))
    heavy = HistogramSketch(a.counts, EDGES, np.full(N_FEATURES, 2**26))
    name = "bkld-large-source"
    assert matrix(name, [light], [b]) == pytest.approx(matrix(name, [heavy], [b]), abs=1e-12)


def test_a_thousand_bins_are_merged_to_a_hundred_for_bkld_small_only():
    random = np.random.default_rng(0)
    fine = [HistogramSketch(random.poisson(3, (4, 1)) + np.ones((4, 1000), dtype=np.int64)) for _ in range(3)]
    coarse = [sketch.coarsen(10) for sketch in fine]
    np.testing.assert_array_equal(matrix("bkld-small", fine, fine), matrix("bkld-small", coarse, coarse))
    assert isinstance(distances.get("bkld-small"), BinnedKld)
    assert (matrix("bkld-large", fine, fine) != matrix("bkld-large", coarse, coarse)).all()
