"""The space of all fingerprints, in words."""

from collections.abc import Mapping
from typing import Any


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
        ("Bins", _join(header.get("n_bins"), header.get("binning"), "per feature")),
        ("Sketches", ", ".join(header.get("sketches", ()))),
        ("Reference", header.get("reference")),
        ("Space id", header.get("space_id")),
    ]
    return [(label, str(text)) for label, text in stated if text]


def _say_transform(transform: Mapping[str, Any]) -> str:
    size = transform.get("image_size")
    pixels = f"{size} × {size} px," if size else None
    return _join(pixels, transform.get("interpolation"), transform.get("preprocessing"))


def _join(*parts: object) -> str:
    return " ".join(str(part) for part in parts if part)
