"""Roots and proofs as RFC 9162 has them, against known values, its recursive definitions, and alterations."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from federation.log import merkle

# The entries and roots of certificate-transparency's own tests of Merkle trees.
ENTRIES = [
    bytes.fromhex(each)
    for each in (
        "", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f",
    )
]  # fmt: skip
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION_5_OF_8 = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
CONSISTENCY_6_OF_8 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]

N = 70
LEAVES = [merkle.leaf_hash(b"%d" % i) for i in range(N)]


def mth(leaves):
    """RFC 9162 §2.1.1, word by word."""
    n = len(leaves)
    if n == 0:
        return hashlib.sha256(b"").digest()
    if n == 1:
        return leaves[0]
    k = max(2**i for i in range(n.bit_length()) if 2**i < n)
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m, leaves):
    """RFC 9162 §2.1.3.1, word by word."""
    n = len(leaves)
    if n == 1:
        return []
    k = max(2**i for i in range(n.bit_length()) if 2**i < n)
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m, leaves, whole):
    """RFC 9162 §2.1.4.1, word by word."""
    n = len(leaves)
    if m == n:
        return [] if whole else [mth(leaves)]
    k = max(2**i for i in range(n.bit_length()) if 2**i < n)
    if m <= k:
        return [*subproof(m, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], False), mth(leaves[:k])]


ALL_ROOTS = [mth(LEAVES[:n]) for n in range(N + 1)]


def inclusion(index, n):
    return merkle.inclusion_proof(index, n, merkle.subtrees_of(LEAVES[:n]))


def consistency(old, new):
    return merkle.consistency_proof(old, new, merkle.subtrees_of(LEAVES[:new]))


@pytest.mark.parametrize("n", range(9))
def test_roots_are_those_of_certificate_transparency(n):
    assert merkle.root_of([merkle.leaf_hash(entry) for entry in ENTRIES[:n]]).hex() == ROOTS[n]


def test_proofs_are_those_of_certificate_transparency():
    subtree = merkle.subtrees_of([merkle.leaf_hash(entry) for entry in ENTRIES])
    assert [each.hex() for each in merkle.inclusion_proof(5, 8, subtree)] == INCLUSION_5_OF_8
    assert [each.hex() for each in merkle.consistency_proof(6, 8, subtree)] == CONSISTENCY_6_OF_8


@pytest.mark.parametrize("n", range(N + 1))
def test_roots_are_those_of_the_definition(n):
    assert merkle.root_of(LEAVES[:n]) == ALL_ROOTS[n]


@pytest.mark.parametrize("n", range(1, N + 1))
def test_every_inclusion_proof_is_that_of_the_definition_and_verifies(n):
    for index in range(n):
        proof = inclusion(index, n)
        assert proof == path(index, LEAVES[:n])
        assert merkle.verifies_inclusion(LEAVES[index], index, n, ALL_ROOTS[n], proof)


@pytest.mark.parametrize("new", range(1, N + 1))
def test_every_consistency_proof_is_that_of_the_definition_and_verifies(new):
    for old in range(1, new + 1):
        proof = consistency(old, new)
        assert proof == subproof(old, LEAVES[:new], True)
        assert merkle.verifies_consistency(old, new, ALL_ROOTS[old], ALL_ROOTS[new], proof)


def test_everything_is_consistent_with_the_empty_tree_alone():
    assert merkle.verifies_consistency(0, 7, merkle.EMPTY_ROOT, ALL_ROOTS[7], [])
    assert not merkle.verifies_consistency(0, 7, ALL_ROOTS[1], ALL_ROOTS[7], [])
    assert not merkle.verifies_consistency(0, 7, merkle.EMPTY_ROOT, ALL_ROOTS[7], [ALL_ROOTS[7]])


def flipped(data, bit):
    return bytes(byte ^ (1 << bit % 8 if i == bit // 8 % len(data) else 0) for i, byte in enumerate(data))


@st.composite
def trees(draw):
    n = draw(st.integers(1, N))
    return draw(st.integers(0, n - 1)), n


@given(trees(), st.integers(0, 255), st.data())
@settings(max_examples=300, deadline=None)
def test_an_altered_inclusion_fails(tree, bit, data):
    index, n = tree
    leaf, root, proof = LEAVES[index], ALL_ROOTS[n], inclusion(index, n)
    assert not merkle.verifies_inclusion(flipped(leaf, bit), index, n, root, proof)
    assert not merkle.verifies_inclusion(leaf, index, n, flipped(root, bit), proof)
    assert not merkle.verifies_inclusion(leaf, index, n, root, [*proof, root])
    other = data.draw(st.integers(0, n - 1))
    assert (other == index) == merkle.verifies_inclusion(leaf, other, n, root, proof)
    size = data.draw(st.integers(0, N))
    assert (size == n) == merkle.verifies_inclusion(leaf, index, size, ALL_ROOTS[size], proof)
    if proof:
        k = data.draw(st.integers(0, len(proof) - 1))
        altered = [*proof[:k], flipped(proof[k], bit), *proof[k + 1 :]]
        assert not merkle.verifies_inclusion(leaf, index, n, root, altered)
        assert not merkle.verifies_inclusion(leaf, index, n, root, proof[:k] + proof[k + 1 :])


@given(trees(), st.integers(0, 255), st.data())
@settings(max_examples=300, deadline=None)
def test_an_altered_consistency_fails(tree, bit, data):
    old, new = tree[0] + 1, tree[1]
    known, root, proof = ALL_ROOTS[old], ALL_ROOTS[new], consistency(old, new)
    assert not merkle.verifies_consistency(old, new, flipped(known, bit), root, proof)
    assert not merkle.verifies_consistency(old, new, known, flipped(root, bit), proof)
    assert not merkle.verifies_consistency(old, new, known, root, [*proof, root])
    other = data.draw(st.integers(1, N))
    assert (other == old) == merkle.verifies_consistency(other, new, ALL_ROOTS[other], root, proof)
    assert (other == new) == merkle.verifies_consistency(old, other, known, ALL_ROOTS[other], proof)
    if proof:
        k = data.draw(st.integers(0, len(proof) - 1))
        altered = [*proof[:k], flipped(proof[k], bit), *proof[k + 1 :]]
        assert not merkle.verifies_consistency(old, new, known, root, altered)
        assert not merkle.verifies_consistency(old, new, known, root, proof[:k] + proof[k + 1 :])


@pytest.mark.parametrize("wrong", [(3, 3), (-1, 3), (0, 0)])
def test_a_leaf_that_is_not_there_has_no_proof(wrong):
    with pytest.raises(ValueError, match="no tree of"):
        merkle.inclusion_proof(*wrong, merkle.subtrees_of(LEAVES))


def test_a_larger_tree_is_in_no_smaller_one():
    with pytest.raises(ValueError, match="holds none of 4"):
        merkle.consistency_proof(4, 3, merkle.subtrees_of(LEAVES))
    assert not merkle.verifies_consistency(4, 3, ALL_ROOTS[4], ALL_ROOTS[3], [])
