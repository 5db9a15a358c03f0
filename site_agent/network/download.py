"""Downloads of the libraries' own weights that fail within seconds when there is no way to the internet.

The hub client tries each file for most of a minute before it gives up, and does so even when the file is in
its cache. Here the cache is looked at first, and one short request decides whether downloading makes sense.
"""

import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlparse

import torch
from huggingface_hub import hf_hub_url, try_to_load_from_cache

from federation.errors import ExtractorError

_HUB_FILES = ("model.safetensors", "pytorch_model.bin")
_TIMEOUT_S = 5.0


@contextmanager
def hub_download(repository: str | None, url: str | None) -> Iterator[dict[str, str]]:
    """Make way for timm to fetch weights from a model repository, or from a URL where there is none.

    Args:
        repository: Name on the hub.
        url: Plain file, used without a repository.

    Yields:
        Settings that make timm read the cached file without asking the hub; empty if it must download.

    Raises:
        ExtractorError: If the weights are not cached and cannot be downloaded.
    """
    if repository is None:
        with url_download(url or ""):
            yield {}
        return
    cached = [try_to_load_from_cache(repository, file) for file in _HUB_FILES]
    found = [path for path in cached if isinstance(path, str)]
    if found:
        yield {"file": found[0]}
        return
    with _reported(hf_hub_url(repository, _HUB_FILES[0])):
        yield {}


@contextmanager
def url_download(url: str) -> Iterator[None]:
    """Make way for torch's hub to fetch a file.

    Raises:
        ExtractorError: If the file is not cached and cannot be downloaded.
    """
    if (Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(url).path).name).exists():
        yield
        return
    with _reported(url):
        yield


@contextmanager
def _reported(url: str) -> Iterator[None]:
    try:
        _ask(url)
        yield
    except OSError as error:
        host = urlparse(url).netloc
        raise ExtractorError(
            f"the pretrained weights {url} cannot be downloaded: {error}",
            remedy=f"let this machine reach {host}, or copy the file here by other means and name it, with "
            "its SHA-256, as the extractor's weights",
        ) from error


def _ask(url: str) -> None:
    """Raise OSError unless a server answers, whatever its answer."""
    if urlparse(url).scheme not in ("http", "https"):
        raise OSError("not a web address")
    request = urllib.request.Request(url, method="HEAD")  # noqa: S310 - the scheme is checked above
    try:
        urllib.request.urlopen(request, timeout=_TIMEOUT_S).close()  # noqa: S310
    except urllib.error.HTTPError:
        return
