"""Merkle trees of RFC 9162 (Certificate Transparency; hashing as in RFC 6962): roots, proofs, verification.

Whoever holds a root and a size is shown with O(log n) hashes that an entry is in the tree (*inclusion*), or
that a larger tree begins with all entries of a smaller one (*consistency*). A proof binds its sizes only
together with the roots: believe a size from a signed tree head alone.
"""

import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import TypeAlias

HASH_BYTES = 32
_LEAF, _NODE = b"\x00", b"\x01"  # leaves and inner nodes never hash alike

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""Root of the tree without entries."""

Subtree: TypeAlias = Callable[[int, int], bytes]
"""Start and end (exclusive) of a range of leaves that the tree has as a subtree → its root, 32 bytes."""


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry: SHA-256(0x00 ‖ entry), RFC 9162 §2.1.1."""
    return hashlib.sha256(_LEAF + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node: SHA-256(0x01 ‖ left ‖ right), RFC 9162 §2.1.1."""
    return hashlib.sha256(_NODE + left + right).digest()


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Return the Merkle tree hash MTH of leaf hashes, RFC 9162 §2.1.1.

    Args:
        leaves: Leaf hashes, 32 bytes each.
    """
    return subtrees_of(leaves)(0, len(leaves)) if leaves else EMPTY_ROOT


def subtrees_of(leaves: Sequence[bytes]) -> Subtree:
    """Return the roots of the subtrees over leaf hashes that are all in memory."""

    def subtree(start: int, end: int) -> bytes:
        if end - start == 1:
            return leaves[start]
        middle = start + split(end - start)
        return node_hash(subtree(start, middle), subtree(middle, end))

    return subtree


def split(n: int) -> int:
    """Return the largest power of two below ``n``: how many leaves the left subtree of ``n`` ≥ 2 has."""
    return 1 << (n - 1).bit_length() - 1


def inclusion_proof(index: int, size: int, subtree: Subtree) -> list[bytes]:
    """Return PATH(index, D_size): the hashes that lead from a leaf to the root, RFC 9162 §2.1.3.1.

    Args:
        index: Position of the leaf, from 0.
        size: Number of leaves of the tree, above ``index``.
        subtree: Roots of its subtrees.
    """
    _require(0 <= index < size, f"no tree of {size} leaves has a leaf {index}")
    path, start, end = [], 0, size
    while end - start > 1:
        middle = start + split(end - start)
        if index < middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    return path[::-1]


def consistency_proof(old: int, new: int, subtree: Subtree) -> list[bytes]:
    """Return PROOF(old, D_new): what shows that a tree begins with a smaller one, RFC 9162 §2.1.4.1.

    Args:
        old: Number of leaves of the smaller tree; with the empty one everything is consistent.
        new: Number of leaves of the larger tree.
        subtree: Roots of the larger tree's subtrees.
    """
    _require(0 <= old <= new, f"a tree of {new} leaves holds none of {old}")
    if old == 0:
        return []
    path, start, end = [], 0, new
    while old < end:
        middle = start + split(end - start)
        if old <= middle:
            path.append(subtree(middle, end))
            end = middle
        else:
            path.append(subtree(start, middle))
            start = middle
    # A complete smaller tree is known to whoever verifies; a part of it is not.
    return ([subtree(start, end)] if start else []) + path[::-1]


def verifies_inclusion(leaf: bytes, index: int, size: int, root: bytes, proof: Sequence[bytes]) -> bool:
    """Return whether a proof shows that a leaf is in a tree, RFC 9162 §2.1.3.2.

    Args:
        leaf: Hash of the leaf.
        index: Its position, from 0.
        size: Number of leaves of the tree.
        root: Root of the tree.
        proof: What ``inclusion_proof`` returned.
    """
    if not 0 <= index < size:
        return False
    fn, sn, found = index, size - 1, leaf
    for sibling in proof:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            found = node_hash(sibling, found)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            found = node_hash(found, sibling)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and hmac.compare_digest(found, root)


def verifies_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Return whether a proof shows that a tree begins with a smaller one, RFC 9162 §2.1.4.2.

    Args:
        old: Number of leaves of the smaller tree.
        new: Number of leaves of the larger tree.
        old_root: Root of the smaller tree.
        new_root: Root of the larger tree.
        proof: What ``consistency_proof`` returned.
    """
    if not 0 <= old <= new:
        return False
    if old in (0, new):
        known = new_root if old else EMPTY_ROOT
        return not proof and hmac.compare_digest(old_root, known)
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    return bool(path) and _leads_to(old - 1, new - 1, path, old_root, new_root)


def _leads_to(fn: int, sn: int, path: Sequence[bytes], old_root: bytes, new_root: bytes) -> bool:
    """Steps 4 to 7 of RFC 9162 §2.1.4.2, with its names."""
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and hmac.compare_digest(fr, old_root) and hmac.compare_digest(sr, new_root)


def _require(true: bool, otherwise: str) -> None:
    if not true:
        raise ValueError(otherwise)
