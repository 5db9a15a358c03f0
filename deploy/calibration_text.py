"""What ``fedprint space calibrate`` says when it is done."""

from fractions import Fraction
from typing import Any

from deploy.space_calibration import Calibrated, Pooled


def calibration_json(done: Calibrated) -> dict[str, Any]:
    """Return a written space, and the cohort behind it, as plain JSON values."""
    space = done.space
    return {
        "file": str(done.path),
        "space_id": space.space_id,
        "bins": space.n_bins,
        "binning": space.binning,
        "sketches": sorted(space.sketches),
        "reference": space.reference,
        "pooled": None if done.pooled is None else _pooled_json(done.pooled),
    }


def calibration_lines(done: Calibrated) -> list[str]:
    """Return the same in sentences, and what to do next."""
    space = done.space
    return [
        *(_cohort_lines(done.pooled) if done.pooled else ["edges follow the public reference alone"]),
        f"space {space.space_id}",
        f"  {space.n_features} features × {space.n_bins} bins, {space.binning}, {', '.join(space.sketches)}",
        f"  written to {done.path}",
        "next: name it as file = … under [space] of the federation file (without bins, binning, sketches),",
        "or as space = … in hub.toml, and let sites with a policy of their own allow the id.",
    ]


def _pooled_json(pooled: Pooled) -> dict[str, Any]:
    privacy, found = pooled.privacy, pooled.calibration
    return {
        "cohort": pooled.cohort,
        "sites": privacy.sites,
        "exact": privacy.is_exact,
        "rho": privacy.rho,
        "eps": privacy.eps,
        "delta": privacy.delta,
        "charged_now": pooled.asked and not privacy.is_exact,
        "coarse_bins": pooled.coarse.n_bins,
        "coarse_space_id": pooled.coarse.space_id,
        "features": len(found.trust),
        "features_with_public_edges": found.n_public,
        "median_shift_in_coarse_bins": found.median_shift,
    }


def _cohort_lines(pooled: Pooled) -> list[str]:
    found, coarse = pooled.calibration, pooled.coarse
    kept = (
        f"  {found.n_public} of {len(found.trust)} features keep their public edges: noise explains all that "
        "differs"
    )
    return [
        f"cohort {pooled.cohort}: a sum of {pooled.privacy.sites} sites, {_cost(pooled)}",
        f"  over {coarse.n_bins} coarse bins of space {coarse.space_id}",
        *([] if pooled.privacy.is_exact else [kept]),
        f"  inner edges moved by {found.median_shift:.2f} coarse bins from the public ones (median over "
        "features)",
    ]


def _cost(pooled: Pooled) -> str:
    privacy = pooled.privacy
    if privacy.is_exact:
        return "without noise"
    spent = f"ρ = {float(Fraction(privacy.rho)):.4g}, ε = {privacy.eps:.3g} at δ = {privacy.delta:g}"
    if pooled.asked:
        return f"{spent}, charged to every site's ledger"
    return f"opened before; nothing is charged again ({spent} was)"
