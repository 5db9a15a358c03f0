"""The fourteen datasets of the demo and the ten institutions that hold them.

The institutions are invented; the pictures are real. Two sites never hold the same pixel.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from deploy.demo_images import tasks
from deploy.demo_images.patches import Patch, Region
from federation.expert_properties import ExpertProperties

INSTITUTIONS = {
    "alderbrook": "Alderbrook University Hospital",
    "bexmoor": "Bexmoor Cancer Institute",
    "carrowdale": "Carrowdale Eye Hospital",
    "dunhaven": "Dunhaven Diabetes Centre",
    "elmcaster": "Elmcaster Trauma Centre",
    "fennimoor": "Fennimoor Children's Hospital",
    "glenmarch": "Glenmarch Heart Centre",
    "harrowick": "Harrowick District Hospital",
    "kestrelby": "Kestrelby Gait Laboratory",
    "larkmere": "Larkmere Rehabilitation Clinic",
}

_CC0 = "CC0 1.0, as stated by scikit-image"
_NO_RESTRICTIONS = "no known copyright restrictions, as stated by scikit-image"
_UNSTATED = "none stated for the picture; distributed with scikit-image (BSD-3-Clause)"
_DIGITS = "none stated for the scans (UCI repository); distributed with scikit-learn (BSD-3-Clause)"
_PYDICOM = "no restriction known to pydicom, which distributes it as test data (MIT)"

_STAINED = ExpertProperties("specimen", "colour", "varying", "field", "none", "colour")
_RETINA = ExpertProperties("body", "colour", "varying", "field", "none", "texture")
_SLICE = ExpertProperties("body", "grey", "varying", "field", "none", "colour")
_DIGIT = ExpertProperties("symbol", "grey", "aligned", "one", "plain", "shape")
_PAGE = ExpertProperties("symbol", "grey", "varying", "several", "plain", "texture")
_GROUND = ExpertProperties("surface", "grey", "varying", "field", "none", "texture")


@dataclass(frozen=True)
class Holding:
    """One dataset at one site; fields as in ``DemoTask``, plus how to cut its patches."""

    site: str
    task: str
    patches: Callable[[], list[Patch]]
    title: str
    modality: str
    body_part: str
    keywords: tuple[str, ...]
    properties: ExpertProperties
    licence: str
    what_it_is: str
    twin: str = ""


HOLDINGS = (
    Holding(
        site="alderbrook",
        task="colon-glands",
        patches=partial(tasks.histology, Region(0, 0, 512, 256), size=48),
        title="Glands and stroma in immunohistochemistry, high power",
        modality="bright-field microscopy, DAB and haematoxylin",
        body_part="colon",
        keywords=("histology", "immunohistochemistry", "gland", "stroma"),
        properties=_STAINED,
        licence=_NO_RESTRICTIONS,
        what_it_is="48-pixel patches from the left half of scikit-image's ihc.png, labelled by colour "
        "deconvolution: DAB-stained gland or unstained stroma",
        twin="bexmoor/epithelium",
    ),
    Holding(
        site="alderbrook",
        task="form-digits-low",
        patches=partial(tasks.handwritten_digits, range(5)),
        title="Handwritten digits 0 to 4 from request forms",
        modality="scanned handwriting",
        body_part="-",
        keywords=("digits", "handwriting", "form"),
        properties=_DIGIT,
        licence=_DIGITS,
        what_it_is="The first thirty scans each of 0, 1, 2, 3 and 4 in scikit-learn's digits",
        twin="harrowick/form-digits-high",
    ),
    Holding(
        site="bexmoor",
        task="epithelium",
        patches=partial(tasks.histology, Region(0, 256, 512, 512), size=64),
        title="Stained epithelium against stroma, medium power",
        modality="bright-field microscopy, DAB and haematoxylin",
        body_part="colon",
        keywords=("histology", "immunohistochemistry", "epithelium", "stroma"),
        properties=_STAINED,
        licence=_NO_RESTRICTIONS,
        what_it_is="64-pixel patches from the right half of scikit-image's ihc.png, labelled by colour "
        "deconvolution: DAB-stained gland or unstained stroma",
        twin="alderbrook/colon-glands",
    ),
    Holding(
        site="carrowdale",
        task="optic-disc",
        patches=partial(
            tasks.fundus, Region(0, 0, 1411, 520), 88, "optic-disc", row=650, column=225, radius=100
        ),
        title="Optic disc, vessels and background of the fundus",
        modality="fundus photograph",
        body_part="retina",
        keywords=("fundus", "optic disc", "vessels"),
        properties=_RETINA,
        licence=_CC0,
        what_it_is="88-pixel patches from the nasal part of scikit-image's retina.jpg, labelled by the "
        "place of the optic disc and by vessel contrast",
        twin="dunhaven/macula",
    ),
    Holding(
        site="dunhaven",
        task="macula",
        patches=partial(
            tasks.fundus, Region(0, 520, 1411, 1411), 96, "macula", row=703, column=711, radius=105
        ),
        title="Macula, vessels and background of the fundus",
        modality="fundus photograph",
        body_part="retina",
        keywords=("fundus", "macula", "vessels", "diabetes"),
        properties=_RETINA,
        licence=_CC0,
        what_it_is="96-pixel patches from the temporal part of scikit-image's retina.jpg, labelled by "
        "the place of the macula and by vessel contrast",
        twin="carrowdale/optic-disc",
    ),
    Holding(
        site="dunhaven",
        task="printed-letters",
        patches=partial(tasks.document, "page", size=32),
        title="Print or blank paper in scanned letters",
        modality="photographed document",
        body_part="-",
        keywords=("document", "print", "text"),
        properties=_PAGE,
        licence=_UNSTATED,
        what_it_is="32-pixel patches of scikit-image's page.png, labelled by the share of ink",
        twin="harrowick/ward-notes",
    ),
    Holding(
        site="elmcaster",
        task="head-ct-soft",
        patches=partial(tasks.head_ct, Region(0, 0, 512, 252), 32, low=-160, high=240),
        title="Bone, soft tissue and air cells, soft-tissue window",
        modality="CT",
        body_part="head",
        keywords=("CT", "skull base", "bone", "air cells"),
        properties=_SLICE,
        licence=_PYDICOM,
        what_it_is="32-pixel patches from one side of the head CT J2K_pixelrep_mismatch.dcm in pydicom, "
        "labelled by Hounsfield units, shown from -160 to 240 HU",
        twin="fennimoor/head-ct-bone",
    ),
    Holding(
        site="fennimoor",
        task="abdomen-mr",
        patches=partial(tasks.abdomen_mr, size=32),
        title="Enhancing organs in contrast MR",
        modality="MRI",
        body_part="abdomen",
        keywords=("MRI", "contrast", "liver", "kidney", "spleen"),
        properties=_SLICE,
        licence=_PYDICOM,
        what_it_is="32-pixel patches of the abdominal MR examples_overlay.dcm in pydicom, labelled by "
        "signal: organ bright with contrast agent, or unenhanced tissue",
    ),
    Holding(
        site="fennimoor",
        task="head-ct-bone",
        patches=partial(tasks.head_ct, Region(0, 252, 512, 512), 40, low=-500, high=1300),
        title="Bone, soft tissue and air cells, bone window",
        modality="CT",
        body_part="head",
        keywords=("CT", "skull base", "bone", "air cells"),
        properties=_SLICE,
        licence=_PYDICOM,
        what_it_is="40-pixel patches from the other side of the head CT J2K_pixelrep_mismatch.dcm in "
        "pydicom, labelled by Hounsfield units, shown from -500 to 1300 HU",
        twin="elmcaster/head-ct-soft",
    ),
    Holding(
        site="glenmarch",
        task="echo-wall",
        patches=partial(tasks.echocardiogram, size=32),
        title="Heart wall or blood pool in echocardiography",
        modality="ultrasound",
        body_part="heart",
        keywords=("ultrasound", "echocardiography", "heart wall"),
        properties=_SLICE,
        licence=_PYDICOM,
        what_it_is="32-pixel patches from the 30 frames of examples_ybr_color.dcm in pydicom, labelled "
        "by echo brightness inside the scan sector",
    ),
    Holding(
        site="harrowick",
        task="form-digits-high",
        patches=partial(tasks.handwritten_digits, range(5, 10)),
        title="Handwritten digits 5 to 9 from request forms",
        modality="scanned handwriting",
        body_part="-",
        keywords=("digits", "handwriting", "form"),
        properties=_DIGIT,
        licence=_DIGITS,
        what_it_is="The first thirty scans each of 5, 6, 7, 8 and 9 in scikit-learn's digits",
        twin="alderbrook/form-digits-low",
    ),
    Holding(
        site="harrowick",
        task="ward-notes",
        patches=partial(tasks.document, "text", size=32),
        title="Pen strokes or blank paper in handwritten notes",
        modality="photographed document",
        body_part="-",
        keywords=("document", "handwriting", "text"),
        properties=_PAGE,
        licence="public domain, as stated by scikit-image",
        what_it_is="32-pixel patches of scikit-image's text.png, labelled by the share of ink",
        twin="dunhaven/printed-letters",
    ),
    Holding(
        site="kestrelby",
        task="walking-surface-near",
        patches=partial(tasks.textures, Region(0, 0, 512, 256), size=64),
        title="Walking surface under the foot camera",
        modality="photograph",
        body_part="-",
        keywords=("texture", "brick", "grass", "gravel"),
        properties=_GROUND,
        licence=_CC0,
        what_it_is="64-pixel patches from the left halves of scikit-image's brick.png, grass.png and "
        "gravel.png, labelled by surface",
        twin="larkmere/walking-surface-far",
    ),
    Holding(
        site="larkmere",
        task="walking-surface-far",
        patches=partial(tasks.textures, Region(0, 256, 512, 512), size=96),
        title="Walking surface from the waist camera",
        modality="photograph",
        body_part="-",
        keywords=("texture", "brick", "grass", "gravel"),
        properties=_GROUND,
        licence=_CC0,
        what_it_is="96-pixel patches from the right halves of scikit-image's brick.png, grass.png and "
        "gravel.png, labelled by surface",
        twin="kestrelby/walking-surface-near",
    ),
)
