"""A federation that is fingerprinted in seconds: random small network, scikit-learn's digits, three sites."""

import hashlib
from pathlib import Path

import numpy as np
import timm
import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

NETWORK = "lcnet_050"
SITES = ("anna", "bern", "cork")
MORE = (*SITES, "dora")


def write_weights(path: Path) -> str:
    """Write a randomly initialised network and return the file's SHA-256."""
    torch.manual_seed(0)
    save_file(timm.create_model(NETWORK, pretrained=False).state_dict(), path)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_digits(folder: Path, n: int = 60, sites=SITES) -> list[Path]:
    """Write disjoint digits as one MedMNIST-style file per site."""
    digits = load_digits()
    images = (digits.images * 15).astype(np.uint8)
    paths = []
    for i, site in enumerate(sites):
        part = slice(i * n, (i + 1) * n)
        # Sites differ visibly: the second one's pictures are inverted.
        pictures = 255 - images[part] if i == 1 else images[part]
        paths.append(folder / f"{site}.npz")
        np.savez(paths[-1], images=pictures, labels=digits.target[part])
    return paths


def write_small_federation(
    folder: Path, *, extra: str = "", trusts=("open", "open", "listen"), n: int = 60
) -> Path:
    """Write data, weights and a federation file; returns the file."""
    sites, sha256 = MORE[: len(trusts)], write_weights(folder / "weights.safetensors")
    tables = "".join(
        f"""
[[site]]
name = "{site}"
trust = "{trust}"
[[site.dataset]]
format = "npz"
task = "digits"
file = "{path.name}"
modality = "scan"
"""
        for site, trust, path in zip(sites, trusts, write_digits(folder, n, sites), strict=True)
    )
    path = folder / "federation.toml"
    path.write_text(
        f"""
[consortium]
name = "Small"
output = "run"
distance = "js"
timeout_s = 120
[space]
extractor = "{NETWORK}"
weights = "weights.safetensors"
weights_sha256 = "{sha256}"
image_size = 32
reference_images = 100
bins = 20
samples = "all"
acceleration = "off"
{tables}{extra}"""
    )
    return path


def let_bern_answer_another_aggregator(federation_file: Path) -> None:
    """Give the second site a policy of its own, which names an unknown aggregator."""
    policy = federation_file.parent / "foreign.toml"
    policy.write_text(f'schema = 1\n[aggregator]\npublic_keys = ["{"ab" * 32}"]\n')
    text = federation_file.read_text()
    federation_file.write_text(text.replace('name = "bern"', 'name = "bern"\npolicy = "foreign.toml"'))
