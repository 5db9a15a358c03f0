"""Whether the machine has room and, where it should, a GPU."""

from collections.abc import Iterator
from pathlib import Path

from federation.errors import FedprintError
from federation.operations.disk import LEAST_FREE, Disk
from site_agent.config import SiteConfig
from site_agent.deployment_check.finding import Finding, fail, ok, warn

_MB = 1_000_000
_NVIDIA = Path("/proc/driver/nvidia/version")


def check_machine(config: SiteConfig) -> Iterator[Finding]:
    """Yield what is found about disk and GPU.

    Args:
        config: The site; its paths are absolute.
    """
    yield _disk(config)
    yield _gpu(config)


def _disk(config: SiteConfig) -> Finding:
    try:
        free = Disk.of(config.state if config.state.exists() else config.state.parent).free
    except FedprintError as error:
        return fail("disk", error.problem, error.remedy)
    wanted = (config.transfer.models_mb + config.transfer.work_mb) * _MB
    said = f"{free / 1e9:.1f} GB are free"
    if free < LEAST_FREE:
        return fail("disk", said, f"free disk space for {config.state}")
    if free < wanted:
        return warn(
            "disk",
            f"{said}; transfer experiments may use up to {wanted / 1e9:.0f} GB",
            "free disk space, or lower models_mb and work_mb under [transfer] in site.toml",
        )
    return ok("disk", said)


def _gpu(config: SiteConfig) -> Finding:
    import torch  # heavy, and only needed to ask for a GPU

    if torch.cuda.is_available():
        return ok("GPU", torch.cuda.get_device_name())
    if config.transfer.device == "cuda":
        return fail("GPU", "there is none, but site.toml wants one", 'install its driver, or device = "auto"')
    if _NVIDIA.exists():
        return warn("GPU", "there is one that PyTorch cannot use", "install a PyTorch that fits the driver")
    return ok("GPU", "none; everything runs on the CPU, more slowly")
