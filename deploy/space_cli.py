"""``fedprint space``: choosing a space for private release, and reading one."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from deploy.space_suggestion import Expectation, Plan

# Commands import what they need inside the function: a hub's commands must not wait for it.

app = typer.Typer(no_args_is_help=True, help="Spaces: what two fingerprints share to be comparable.")

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

_VERDICTS = (
    (0.95, "ranks sources almost as without noise"),
    (0.85, "ranks sources well; near neighbours can change places"),  # space_suggestion.GOOD
    (0.60, "tells near sources from far ones, but not their order"),
    (-1.0, "too small to rank anything: the ranking would be mostly noise"),
)


@app.command()
def suggest(
    images: Annotated[int, typer.Option(min=1, help="Expected images per site and task.")],
    eps: Annotated[float, typer.Option(help="ε of one release.")],
    delta: Annotated[float, typer.Option(help="δ of one release.")] = 1e-6,
    sites: Annotated[int, typer.Option(help="Sites in the consortium, each with one task.")] = 10,
    images_per_patient: Annotated[int, typer.Option(min=1, help="At most this many per patient.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Suggest the space of a private consortium, and say why."""
    from deploy.space_suggestion import Plan, expectations, remedies

    plan = Plan(images, eps, delta, sites, images_per_patient)
    found, help_ = expectations(plan), remedies(plan)
    if as_json:
        typer.echo(json.dumps(_suggestion_json(plan, found, help_), indent=1, ensure_ascii=False))
        return
    for line in _suggestion_lines(plan, found, help_):
        typer.echo(line)


@app.command()
def calibrate(
    federation: Annotated[Path, typer.Argument(help="The federation file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The space file to write.")],
    federated: Annotated[
        str | None, typer.Option(metavar="COHORT", help="Follow the pooled histogram of this cohort.")
    ] = None,
    bins: Annotated[int | None, typer.Option(help="Bins per feature; as in the file by default.")] = None,
    binning: Annotated[
        str | None, typer.Option(help="equal-width, skewed or equal-mass; as in the file by default.")
    ] = None,
    coarse_bins: Annotated[
        int | None,
        typer.Option(min=2, max=1024, help="Coarse bins of the cohort; 64, or 16 where it adds noise."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Ask, and let patients pay, for what was opened before.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Write a space whose bin edges follow a cohort; without --federated the public images alone."""
    from rich.console import Console

    from deploy.calibration_text import calibration_json, calibration_lines
    from deploy.federation_file import FederationConfig
    from deploy.progress_display import ProgressDisplay
    from deploy.space_calibration import Plan, calibrate_space

    display = ProgressDisplay(Console(stderr=True, quiet=as_json))
    plan = Plan(out, bins, binning, federated, coarse_bins, again)
    with display.shown():
        done = calibrate_space(FederationConfig.read(federation), plan, display)
    if as_json:
        typer.echo(json.dumps(calibration_json(done), indent=1, ensure_ascii=False))
        return
    for line in calibration_lines(done):
        typer.echo(line)


@app.command()
def show(
    file: Annotated[Path, typer.Argument(help="A space file, for example space.safetensors of a run.")],
    as_json: JsonOption = False,
) -> None:
    """Show what a space file fixes: identity, edges, sketches, levels and clips."""
    from federation.files import read_file
    from federation.space import Space

    space = Space.from_bytes(read_file(file, "space"))
    if as_json:
        typer.echo(json.dumps(space.header(), indent=1, ensure_ascii=False))
        return
    extractor = space.extractor
    typer.echo(f"space      {space.space_id}")
    typer.echo(f"name       {space.name}")
    typer.echo(f"extractor  {extractor.library} {extractor.name}, weights {extractor.weights_sha256}")
    typer.echo(f"input      {extractor.transform.image_size} px, {extractor.transform.preprocessing}")
    typer.echo(f"bins       {space.n_features} features × {space.n_bins} bins, {space.binning}")
    typer.echo(f"edges      from {space.reference}")
    for kind, parameters in sorted(space.sketches.items()):
        typer.echo(f"sketch     {kind}{_shown(kind, parameters, space.n_bins)}")


def verdict(spearman: float) -> str:
    """Return what a ranking of that expected agreement is worth, in words."""
    return next(words for least, words in _VERDICTS if spearman >= least)


def _shown(kind: str, parameters: Any, n_bins: int) -> str:
    """What a person can read of a sketch's parameters."""
    if kind == "cdf":
        levels = n_bins.bit_length() - 1
        return f": {levels} levels, clip {parameters['clip']:g}, norms {parameters['clips']}"
    short = {key: value for key, value in sorted(parameters.items()) if len(str(value)) <= 40}
    return ": " + ", ".join(f"{key} {value}" for key, value in short.items()) if short else ""


def _suggestion_json(plan: "Plan", found: "list[Expectation]", help_: list[str]) -> dict[str, Any]:
    from deploy.space_suggestion import toml

    best = found[0]
    return {
        "patients": plan.n_patients,
        "eps": plan.eps,
        "delta": plan.delta,
        "rho": str(plan.rho),
        "sites": plan.n_sites,
        **_space_json(best),
        "told_apart": best.told_apart,
        "relative_error_listening": best.relative_error_listening,
        "verdict": verdict(best.spearman),
        "help": help_,
        "others": [_space_json(other) for other in found[1:]],
        "toml": toml(best.space),
    }


def _space_json(expected: "Expectation") -> dict[str, Any]:
    from federation.sketches.cdf_parameters import CLIP, levels_of

    space = expected.space
    levels = {"levels": levels_of(space.n_bins), "clip": CLIP} if space.clip_norm else {}
    return {
        "sketches": [space.kind],
        "bins": space.n_bins,
        "binning": space.binning,
        **levels,
        "distance": space.distance,
        "spearman": expected.spearman,
        "top3": expected.top3,
        "relative_error": expected.relative_error,
    }


def _suggestion_lines(plan: "Plan", found: "list[Expectation]", help_: list[str]) -> list[str]:
    from deploy.space_suggestion import toml

    best = found[0]
    return [
        f"{plan.n_sites} sites of {plan.n_patients:,} patients each, ε = {plan.eps:g} at δ = {plan.delta:g}",
        f"per release: {verdict(best.spearman)}.",
        "",
        toml(best.space),
        "Why:",
        *_uncertainty(plan, best),
        *_ranked(found),
        "  Measured on 16 real image tasks with EfficientNet-Lite0, 100 to 2,000 patients, sources and",
        "  targets noisy (docs/privacy.md). Other networks and tasks differ, the order of the spaces less.",
        *(["", "What would help:"] if help_ else []),
        *(f"  {line}" for line in help_),
    ]


def _uncertainty(plan: "Plan", best: "Expectation") -> list[str]:
    others = plan.n_sites - 2
    tied = (1 - best.told_apart) * others
    both, one = best.relative_error, best.relative_error_listening
    return [
        "  Distances of sources to a target differ by some spread; noise gives a typical distance a standard",
        f"  error of {both:.2f} of it ({one:.2f} if the target listens).",
        f"  So a source is tied with about {tied:.1f} of the {others} others (two standard errors).",
    ]


def _ranked(found: "list[Expectation]") -> list[str]:
    head = "  Expected agreement with the noise-free ranking:  Spearman  three nearest  standard error"
    rows = [
        f"    {e.space.kind}, {e.space.n_bins} bins, by {e.space.distance}".ljust(51)
        + f"{e.spearman:.2f}      {e.top3:.2f}           {e.relative_error:.2f}"
        for e in found
    ]
    return [head, *rows]
