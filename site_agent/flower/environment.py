"""Environment variables of the site's processes."""

from collections.abc import Mapping
from pathlib import Path

FLOWER = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "FLWR_SUPEREXEC_TASK_POLL_INTERVAL": "0.25",
}
"""Flower must ask nobody outside for anything, and look for work often."""

_LOOPBACK = "127.0.0.1,localhost,::1"
_KEPT = (
    "PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "HF_HOME", "HF_HUB_OFFLINE", "TORCH_HOME", "XDG_CACHE_HOME",
)  # fmt: skip
_KEPT_GROUPS = ("CUDA_", "NVIDIA_", "OMP_", "MKL_", "OPENBLAS_", "FEDPRINT_LOG")


def for_flower(environment: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return what the SuperNode and the SuperExec get beside what the service has.

    Args:
        environment: That of the service.
        home: Folder for Flower's own files.
    """
    return {**FLOWER, **_without_proxy(environment), "FLWR_HOME": str(home)}


def for_clientapp(environment: Mapping[str, str]) -> dict[str, str]:
    """Return all that a ClientApp gets: where programs, weights and graphics cards are, and nothing else.

    Args:
        environment: That of the process which starts it.
    """
    kept = {name: value for name, value in environment.items() if _is_kept(name)}
    caches = {} if "XDG_CACHE_HOME" in kept else _caches(environment)
    return {**caches, **kept, **FLOWER, **_without_proxy(environment)}


def _is_kept(name: str) -> bool:
    return name in _KEPT or name.startswith(_KEPT_GROUPS) or name.lower().endswith("_proxy")


def _caches(environment: Mapping[str, str]) -> dict[str, str]:
    """Weights are kept where the service keeps them, though a ClientApp has a home of its own."""
    home = environment.get("HOME")
    return {} if home is None else {"XDG_CACHE_HOME": str(Path(home) / ".cache")}


def _without_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """What stays on this machine must not go through the hospital's proxy."""
    told = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    without = ",".join(part for part in (told, _LOOPBACK) if part)
    return {"NO_PROXY": without, "no_proxy": without}
