"""How each kind of picture becomes a labelled dataset of about 150 patches."""

from collections.abc import Iterable

import numpy as np
from PIL import Image

from deploy.demo_images.evidence import (
    bare_glass,
    dab_stained,
    disc,
    enclosed,
    everywhere,
    ink,
    rectangle,
    vessels,
)
from deploy.demo_images.patches import LabelRule, Patch, Region, labelled_patches, spread
from deploy.demo_images.pictures import dicom, digits, photograph, windowed


def histology(area: Region, size: int) -> list[Patch]:
    """Return glands, stained brown by DAB, against the counterstained stroma of a colon slide."""
    slide = photograph("ihc.png")
    stained = dab_stained(slide)
    rules = [
        LabelRule("gland-dab-positive", stained, at_least=0.85),
        LabelRule("stroma-dab-negative", ~stained & ~bare_glass(slide), at_least=0.97),
    ]
    return spread(labelled_patches("ihc", slide, area, size, 8, rules), per_class=75)


def fundus(area: Region, size: int, landmark: str, row: int, column: int, radius: int) -> list[Patch]:
    """Return a round landmark of the retina against large vessels and plain background."""
    eye = photograph("retina.jpg")
    away = disc(eye.shape, 705, 705, 665) & ~disc(eye.shape, row, column, radius + size)
    rules = [
        LabelRule(landmark, disc(eye.shape, row, column, radius), at_least=0.7),
        LabelRule("vessels", vessels(eye, contrast=10) & away, at_least=0.14),
        LabelRule("background", ~vessels(eye, contrast=8) & away, at_least=0.97),
    ]
    return spread(labelled_patches("retina", eye, area, size, 12, rules), per_class=50)


def head_ct(area: Region, size: int, low: float, high: float) -> list[Patch]:
    """Return bone, soft tissue and air cells of a head CT, shown at the window [low, high] HU."""
    hounsfield = dicom("J2K_pixelrep_mismatch.dcm")
    rules = [
        LabelRule("bone", hounsfield > 250, at_least=0.4),
        LabelRule("soft-tissue", (hounsfield > -20) & (hounsfield < 100), at_least=0.97),
        LabelRule("air-cells", enclosed(hounsfield < -250), at_least=0.25),
    ]
    shown = windowed(hounsfield, low, high)
    return spread(labelled_patches("head-ct", shown, area, size, 4, rules), per_class=50)


def abdomen_mr(size: int) -> list[Patch]:
    """Return organs bright with contrast agent against unenhanced tissue of an abdominal MR."""
    signal = dicom("examples_overlay.dcm")
    rules = [
        LabelRule("enhancing-organ", signal > 300, at_least=0.8),
        LabelRule("unenhanced-tissue", (signal > 60) & (signal < 230), at_least=0.85),
    ]
    shown, area = windowed(signal, 0, 700), Region(0, 0, *signal.shape)
    return spread(labelled_patches("abdomen-mr", shown, area, size, 4, rules), per_class=75)


def echocardiogram(size: int) -> list[Patch]:
    """Return heart wall against blood pool from the frames of an ultrasound clip."""
    found = []
    for number, frame in enumerate(dicom("examples_ybr_color.dcm")):
        echo, sector = frame[..., 1], Region(20, 90, 205, 230)
        cavity = rectangle(echo.shape, Region(60, 125, 160, 205))
        rules = [
            LabelRule("heart-wall", echo > 40, at_least=0.5),
            LabelRule("blood-pool", (echo < 30) & cavity, at_least=0.97),
        ]
        name, shown = f"echo-frame{number:02d}", windowed(echo, 0, 110)
        found += labelled_patches(name, shown, sector, size, 8, rules)
    return spread(found, per_class=75)


def textures(area: Region, size: int) -> list[Patch]:
    """Return brick, grass and gravel surfaces."""
    found = []
    for name in ("brick", "grass", "gravel"):
        surface = photograph(f"{name}.png")
        rules = [LabelRule(name, everywhere(surface.shape), at_least=1.0)]
        found += labelled_patches(name, surface, area, size, 16, rules)
    return spread(found, per_class=50)


def document(name: str, size: int) -> list[Patch]:
    """Return writing against blank paper from one photographed page."""
    page = photograph(f"{name}.png")
    rules = [
        LabelRule("writing", ink(page, contrast=40), at_least=0.05),
        LabelRule("blank-paper", ~ink(page, contrast=12), at_least=0.999),
    ]
    area = Region(0, 0, *page.shape)
    return spread(labelled_patches(name, page, area, size, 4, rules), per_class=75)


def handwritten_digits(values: Iterable[int]) -> list[Patch]:
    """Return the first thirty scans of every given digit, enlarged from 8 to 32 pixels."""
    scans, labels = digits()
    found = []
    for value in values:
        for index in np.flatnonzero(labels == value)[:30]:
            strokes = np.rint(scans[index] * (255 / 16)).astype(np.uint8)
            enlarged = Image.fromarray(strokes).resize((32, 32), Image.Resampling.BICUBIC)
            place = Region(0, 0, 8, 8)
            found.append(Patch(np.asarray(enlarged), f"digit-{value}", f"digits{index:04d}", place))
    return found
