"""The space of all fingerprints, in words."""

from collections.abc import Mapping
from typing import Any

_SKETCHES = {
    "histogram": "histograms over bins that all sites share",
    "cdf": "the shares of images at or below thresholds that all sites share",
    "mean-embedding": "means of random features that all sites share",
    "moments": "means and covariances",
    "fisher": "means of squared gradients of its predictions",
}


def say_sketches(header: Mapping[str, Any]) -> str:
    """Return what the space's sketches are, in words.

    Args:
        header: ``Space.header()``.
    """
    kinds = header.get("sketches", ())
    *first, last = [_SKETCHES.get(kind, f"{kind} sketches") for kind in kinds] or ["sketches"]
    return f"{', '.join(first)} and {last}" if first else last


def say_space(header: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return label and text of what a space is, leaving out what the header does not state.

    Args:
        header: ``Space.header()``.
    """
    extractor = header.get("extractor", {})
    transform = extractor.get("transform", {})
    stated = [
        ("Name", header.get("name")),
        ("Extractor", _join(extractor.get("library"), extractor.get("name"))),
        ("Features", extractor.get("n_features")),
        ("Weights", extractor.get("weights_sha256")),
        ("Preprocessing", _say_transform(transform)),
        _say_edges(header),
        ("Sketches", ", ".join(header.get("sketches", ()))),
        ("Reference", header.get("reference")),
        ("Space id", header.get("space_id")),
    ]
    return [(label, str(text)) for label, text in stated if text]


def _say_edges(header: Mapping[str, Any]) -> tuple[str, str]:
    n_bins, binning = header.get("n_bins"), header.get("binning")
    if n_bins and set(header.get("sketches", ())) == {"cdf"}:
        return "Thresholds", _join(n_bins - 1, "between", n_bins, binning, "bins, per feature")
    return "Bins", _join(n_bins, binning, "per feature")


def _say_transform(transform: Mapping[str, Any]) -> str:
    size = transform.get("image_size")
    pixels = f"{size} × {size} px," if size else None
    return _join(pixels, transform.get("interpolation"), transform.get("preprocessing"))


def _join(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part)
