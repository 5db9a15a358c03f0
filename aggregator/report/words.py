"""How the report says numbers, names and privacy statements."""

import math
import re
from datetime import UTC, datetime
from fractions import Fraction

from federation.fingerprint import Provenance
from federation.privacy.statement import PrivacyStatement
from federation.trust import MEMBERSHIP_WARNING, TrustMode

# Control characters, lone surrogates, and the marks that turn the direction of the text after them.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")


def without_controls(value: object) -> object:
    """Return a text without the characters that are not to be seen; anything else as it is.

    Text that is already markup is not touched.
    """
    return _CONTROLS.sub(" ", value) if type(value) is str else value


def say_value(value: float) -> str:
    """Return a distance in three significant digits, ``∞``, or ``n/a`` for NaN."""
    if math.isnan(value):
        return "n/a"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0 or abs(value) >= 1e5 or abs(value) < 1e-3:
        return f"{value:.2g}"
    return f"{value:#.3g}".rstrip(".") if abs(value) < 1000 else f"{value:.0f}"


def say_uncertain(value: float, standard_error: float | None) -> str:
    """Return a distance and, where noise moves it, its standard error: ``0.0123 ± 0.004``."""
    return f"{say_value(value)} ± {standard_error:.1g}" if standard_error else say_value(value)


def say_count(count: int) -> str:
    """Return a count with thousands separated."""
    return f"{count:,}"


def say_plural(count: int, noun: str) -> str:
    """Return a count and its noun, ``1 site`` or ``9 sites``."""
    return f"{say_count(count)} {noun}" if count == 1 else f"{say_count(count)} {noun}s"


def say_time(moment: datetime) -> str:
    """Return a moment to the minute, in UTC if it knows its time zone; free of the machine's locale."""
    if moment.tzinfo is None:
        return f"{moment:%Y-%m-%d %H:%M}"
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def shorten(text: str, limit: int) -> str:
    """Return the text in one line of at most ``limit`` characters, its middle left out if need be."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    tail = (limit - 1) // 3
    return f"{line[: limit - 1 - tail].rstrip()}…{line[-tail:].lstrip()}"


def say_privacy(privacy: PrivacyStatement) -> tuple[str, str]:
    """Return what a privacy statement means to a patient: a short line and the full sentence."""
    if privacy.mode is TrustMode.LISTEN:
        return "Nothing was released", "The site ranks the public catalogue on its own machine."
    noise = _say_noise(privacy)
    if privacy.mode is TrustMode.POOLED:
        cost = f", with noise: {say_cost(privacy)}" if privacy.eps else ""
        opened = f"Only the {say_sites(privacy)} could be opened; no one saw the sketch of any of them. "
        return f"Released as a {say_sites(privacy)}{cost}", opened + noise
    if privacy.mechanism == "none":
        return "Exact histograms were released", sentence(MEMBERSHIP_WARNING)
    cost = f": {say_cost(privacy)}" if privacy.eps else ""
    return f"Released with noise{cost}", noise


def say_cost(privacy: PrivacyStatement) -> str:
    """Return what a release with noise cost and whom it protects, ``ε = 1 at δ = 1e-06 per patient``."""
    whom = f" per {privacy.unit}" if privacy.unit else ""
    return f"ε = {say_rounded_up(privacy.eps)} at δ = {privacy.delta:g}{whom}"


def say_rounded_up(eps: float) -> str:
    """Return ε in three significant digits, rounded up."""
    if eps <= 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(eps)) - 2)
    return f"{math.ceil(eps / unit - 1e-6) * unit:.3g}"


def say_size(n: int, privacy: PrivacyStatement) -> str:
    """Return how much a task holds, ``1,865 images``, or what noisy sums tell of it, ``≈ 312 patients``."""
    return f"{_approximately(privacy)}{say_plural(n, counted(privacy))}"


def say_number(n: int, privacy: PrivacyStatement) -> str:
    """Return the number of ``say_size`` alone, ``1,865`` or ``≈ 312``."""
    return f"{_approximately(privacy)}{say_count(n)}"


def counted(privacy: PrivacyStatement) -> str:
    """Return what the size of a task counts: images, or those whom its noise protects."""
    return "image" if privacy.is_exact else privacy.unit or "patient"


def say_noise(privacy: PrivacyStatement) -> str:
    """Return how strong the noise of a release is, ``like 4.6 patients more or less``; empty without any.

    A release of ρ carries noise of standard deviation Δ/√(2ρ) in all, where Δ is the most that one unit can
    move it (Bun & Steinke 2016, Proposition 1.6).
    """
    rho = Fraction(privacy.rho)
    if not rho:
        return ""
    strength = f"{1 / math.sqrt(2 * rho):.2g}"
    return f"like {strength} {counted(privacy)}{'' if strength == '1' else 's'} more or less"


def say_sigmas(privacy: PrivacyStatement) -> str:
    """Return the standard deviation of the noise in every array."""
    return ", ".join(f"{name} {say_value(math.sqrt(v))}" for name, v in sorted(privacy.noise.items()))


def say_statement(privacy: PrivacyStatement) -> tuple[tuple[str, str], ...]:
    """Return label and text of everything a privacy statement states; nothing for exact sketches."""
    if privacy.is_exact:
        return (("Sites", say_sites(privacy)),) if privacy.mode is TrustMode.POOLED else ()
    cap = say_plural(privacy.images_per_patient, "image")
    ledger = "" if privacy.ledger_seq is None else f"entry {say_count(privacy.ledger_seq)}"
    stated = (
        ("Mechanism", privacy.mechanism),
        ("Protects", f"one {privacy.unit}" if privacy.unit else ""),
        ("Neighbours", f"{privacy.neighbours} {privacy.unit}" if privacy.neighbours else ""),
        ("Cost", f"{say_cost(privacy)}; ρ = {privacy.rho} (zCDP)" if privacy.eps else ""),
        ("Noise", say_noise(privacy)),
        ("σ of the noise", say_sigmas(privacy)),
        ("Used per patient", f"at most {cap}, each once" if privacy.images_per_patient else ""),
        ("Weight of a patient", say_count(privacy.weight) if privacy.weight > 1 else ""),
        ("Sites", _say_honest(privacy)),
        ("Cohorts", say_cohorts(privacy)),
        ("Bins and norms from", privacy.edges),
        ("Ledger", f"{ledger}, {privacy.ledger_hash}" if ledger else ""),
    )
    return tuple((label, text) for label, text in stated if text)


def say_cohorts(privacy: PrivacyStatement) -> str:
    """Return of how many releases a fingerprint is the sum; nothing if it is a single one."""
    n = privacy.cohorts
    return f"sum of {say_count(n)} releases about disjoint groups of patients" if n > 1 else ""


def say_sites(privacy: PrivacyStatement) -> str:
    """Return of how many sites' sketches a pooled fingerprint is the sum; nothing if it is a site's own."""
    return f"sum of {say_count(privacy.sites)} sites" if privacy.mode is TrustMode.POOLED else ""


def is_exact(privacy: PrivacyStatement) -> bool:
    """Whether the site's own sketch left it without noise."""
    return privacy.mode in (TrustMode.OPEN, TrustMode.PRIVATE) and privacy.mechanism == "none"


def sentence(text: str) -> str:
    """Return the text with a capital first letter."""
    return text[:1].upper() + text[1:]


def say_sampling(provenance: Provenance) -> str:
    """Return which images a fingerprint was drawn from."""
    plan = provenance.sampling
    most = "" if plan.n_images is None else f", at most {say_count(plan.n_images)}"
    if plan.tolerance is not None:
        error = f"{100 * plan.tolerance:g} percentage points"
        return f"until cumulative frequencies were known to {error}{most}, seed {plan.seed}"
    if plan.n_images is None:
        return "every image once"
    draws = "draws with replacement" if plan.replacement else "images at most"
    return f"{say_count(plan.n_images)} {draws}, seed {plan.seed}"


def _approximately(privacy: PrivacyStatement) -> str:
    return "" if privacy.is_exact else "≈ "


def _say_honest(privacy: PrivacyStatement) -> str:
    relied_on = f", the noise of {say_count(privacy.honest)} of which is counted on" if privacy.honest else ""
    return say_sites(privacy) + relied_on


def _say_noise(privacy: PrivacyStatement) -> str:
    if privacy.mechanism == "none":
        return (
            "No noise was added to the sum: anyone who holds a patient's image can tell from it whether that "
            "patient is in one of the datasets, though not in which."
        )
    unit = privacy.unit
    hidden = f" It hides whether any one {unit} took part" if unit else ""
    bound = f", up to the odds that {say_cost(privacy)} allows" if hidden and privacy.eps else ""
    alone = (
        " The site does not know which images are of one patient: a patient with several is protected less."
        if unit == "image"
        else ""
    )
    return (
        f"Noise was added before release ({privacy.mechanism}).{hidden}{bound}{'.' if hidden else ''}{alone}"
    )
