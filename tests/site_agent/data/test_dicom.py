import shutil
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEGLSLossless, generate_uid

from federation.errors import DataError
from site_agent.data import open_source
from site_agent.data.dicom_pixels import decode_frame, grey_levels
from site_agent.dataset_config import Columns, DicomConfig


def make_dicom(path, pixels, patient="", study="", frames=None, **attributes):
    header = Dataset()
    header.file_meta = FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.SOPClassUID = header.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    header.PatientID, header.StudyInstanceUID = patient, study
    header.PhotometricInterpretation, header.SamplesPerPixel = "MONOCHROME2", 1
    header.Rows, header.Columns = pixels.shape[-2:]
    header.BitsAllocated = header.BitsStored = 8 * pixels.itemsize
    header.HighBit, header.PixelRepresentation = header.BitsStored - 1, int(pixels.dtype.kind == "i")
    if frames:
        header.NumberOfFrames = frames
    for keyword, value in attributes.items():
        setattr(header, keyword, value)
    header.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    header.save_as(path, enforce_file_format=True)
    return path


def bundled(name):
    """A file that ships inside pydicom; never one it would download."""
    return Path(get_testdata_file(name, download=False))


def pixels_of(path, frame=0, window=None):
    with Path(path).open("rb") as file:
        image = decode_frame(file, "x", frame, window)
    assert image.mode == "RGB"
    return np.asarray(image)


def open_dicom(root, **options):
    return open_source(DicomConfig(task="t", format="dicom", root=root, **options))


RAMP = np.array([[0, 100, 200, 300, 400]], np.uint16)


def levels(path, **options):
    return pixels_of(path, **options)[0, :, 0].tolist()


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "root"
    make_dicom(root / "sick" / "series" / "1.dcm", RAMP, "p1", "1.1")
    make_dicom(root / "sick" / "series" / "IM2", RAMP, "", "1.2")
    make_dicom(root / "well" / "3.dcm", np.stack([RAMP, RAMP // 2, RAMP]), "p2", "1.3", frames=3)
    return root


def test_sub_folders_are_classes_and_every_frame_is_an_image(tree):
    source = open_dicom(tree)
    assert [source.name(i) for i in range(5)] == [
        "sick/series/1.dcm",
        "sick/series/IM2",
        *(f"well/3.dcm#frame {frame}" for frame in (1, 2, 3)),
    ]
    assert source.class_counts() == {"sick": 2, "well": 3}
    assert source.patients == ("p1", "", "p2", "p2", "p2")
    assert source.load(4).size == (5, 1)


def test_where_no_file_names_a_patient_none_is_known(tmp_path):
    make_dicom(tmp_path / "sick" / "1.dcm", RAMP, "", "1.1")
    make_dicom(tmp_path / "well" / "2.dcm", RAMP, " ", "1.1")
    assert open_dicom(tmp_path).patients is None


def test_of_several_frames_the_middle_one_may_be_used(tree):
    source = open_dicom(tree, frames="middle")
    assert [source.name(i) for i in range(3)][2] == "well/3.dcm#frame 2"
    assert source.class_counts() == {"sick": 2, "well": 1}


def test_a_zip_archive_reads_like_a_folder(tree, tmp_path):
    shutil.make_archive(str(tmp_path / "data"), "zip", tree)
    zipped = open_dicom(tmp_path / "data.zip")
    assert zipped.listing.names == open_dicom(tree).listing.names
    assert zipped.load(4) == open_dicom(tree).load(4)


def test_files_that_are_no_images_are_left_out_and_broken_ones_kept(tree):
    shutil.copy(bundled("test-SR.dcm"), tree / "well" / "report.dcm")
    (tree / "well" / "readme.txt").write_text("no DICOM")
    (tree / "well" / "broken.dcm").write_bytes(b"no DICOM")
    source = open_dicom(tree, frames="middle")
    assert source.listing.names[2:] == ("well/3.dcm#frame 2", "well/broken.dcm")
    with pytest.raises(DataError, match=r"^well/broken\.dcm: not a DICOM file$"):
        source.load(3)


def test_labels_may_come_from_a_table_by_file_or_by_folder(tree, tmp_path):
    (tmp_path / "l.csv").write_text("path,label\nsick/series,pneumonia\nwell/3.dcm,healthy\nsick/none,x\n")
    source = open_dicom(tree, labels=tmp_path / "l.csv", frames="middle")
    assert source.class_counts() == {"healthy": 1, "pneumonia": 2}


def test_labels_may_come_from_a_table_by_dicom_attribute(tree, tmp_path):
    (tmp_path / "l.csv").write_text("study,dx,who\n1.1,pneumonia,A\n1.3,healthy,B\n")
    columns = Columns(path="study", label="dx", patient="who")
    source = open_dicom(tree, labels=tmp_path / "l.csv", columns=columns, match="StudyInstanceUID")
    assert source.class_counts() == {"healthy": 3, "pneumonia": 1}
    assert source.patients == ("A", "B", "B", "B")


def test_a_table_that_fits_nothing_is_refused(tree, tmp_path):
    (tmp_path / "l.csv").write_text("path,label\nelse/1.dcm,a\n")
    with pytest.raises(
        DataError, match=r"no row of .*l\.csv fits any of the 3 DICOM images .* holds the path"
    ):
        open_dicom(tree, labels=tmp_path / "l.csv")


def test_a_key_named_twice_is_refused_without_telling_it(tree, tmp_path):
    (tmp_path / "l.csv").write_text("path,label\np-secret,a\np2,b\np-secret,b\n")
    with pytest.raises(DataError, match=r"l\.csv lines 2 and 4 name the same PatientID") as caught:
        open_dicom(tree, labels=tmp_path / "l.csv", match="PatientID")
    assert "secret" not in str(caught.value)


def test_trees_without_dicom_images_or_class_folders_say_so(tmp_path):
    with pytest.raises(DataError, match="holds no DICOM images"):
        open_dicom(tmp_path)
    make_dicom(tmp_path / "1.dcm", RAMP)
    with pytest.raises(DataError, match="holds DICOM images directly"):
        open_dicom(tmp_path)


def test_only_headers_are_read_to_list(tree, monkeypatch):
    monkeypatch.setattr("site_agent.data.dicom_pixels.pixel_array", None)
    assert len(open_dicom(tree)) == 5


def test_an_absurd_number_of_frames_is_not_believed(tmp_path):
    make_dicom(tmp_path / "a" / "1.dcm", RAMP, frames=2_000_000_000)
    make_dicom(tmp_path / "b" / "1.dcm", RAMP)
    assert len(open_dicom(tmp_path)) == 2


def test_without_a_window_the_frame_spans_black_to_white(tmp_path):
    assert levels(make_dicom(tmp_path / "x", RAMP)) == [0, 64, 128, 191, 255]
    padded = make_dicom(tmp_path / "y", RAMP, PixelPaddingValue=400)
    assert levels(padded) == [0, 85, 170, 255, 255]
    assert levels(make_dicom(tmp_path / "z", RAMP * 0 + 7)) == [0] * 5


def test_the_window_of_the_file_is_used_and_the_configured_one_wins(tmp_path):
    path = make_dicom(tmp_path / "x", RAMP, WindowCenter=[200, 0], WindowWidth=[201, 1])
    assert levels(path) == [0, 1, 128, 255, 255]
    assert levels(path, window=(100, 201)) == [1, 128, 255, 255, 255]


def test_the_configured_window_is_in_rescaled_units(tmp_path):
    path = make_dicom(tmp_path / "x", RAMP, RescaleSlope=2, RescaleIntercept=-400)
    assert levels(path, window=(0.5, 801)) == [0, 64, 128, 191, 255]


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        ("LINEAR", [0, 64, 128, 191, 255]),
        ("LINEAR_EXACT", [0, 64, 128, 191, 255]),
        ("SIGMOID", [30, 69, 128, 186, 225]),
    ],
)
def test_the_three_window_functions(tmp_path, function, expected):
    path = make_dicom(tmp_path / "x", RAMP, WindowCenter=200, WindowWidth=400, VOILUTFunction=function)
    assert np.abs(np.subtract(levels(path), expected)).max() <= 1


def test_a_window_of_no_width_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"^x: window width 0 is not allowed"):
        pixels_of(make_dicom(tmp_path / "x", RAMP, WindowCenter=200, WindowWidth=0))


def test_a_window_of_width_one_is_a_threshold(tmp_path):
    assert levels(make_dicom(tmp_path / "x", RAMP), window=(200, 1)) == [0, 0, 255, 255, 255]


def test_monochrome1_is_inverted(tmp_path):
    path = make_dicom(tmp_path / "x", RAMP, PhotometricInterpretation="MONOCHROME1")
    assert levels(path) == [255, 191, 128, 64, 0]
    assert levels(path, window=(0.5, 401)) == [128, 64, 0, 0, 0]


def test_a_lookup_table_takes_the_place_of_the_windows(tmp_path):
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [3, 100, 8], [10, 20, 30]
    table["LUTData"].VR = "US"
    path = make_dicom(tmp_path / "x", np.array([[0, 100, 101, 500]], np.uint16), VOILUTSequence=[table])
    assert levels(path) == [10, 10, 20, 30]


def test_frames_of_an_enhanced_file_have_their_own_window_and_rescaling(tmp_path):
    def frame(centre, slope):
        window, values, group = Dataset(), Dataset(), Dataset()
        window.WindowCenter, window.WindowWidth = centre, 401
        values.RescaleSlope, values.RescaleIntercept = slope, 0
        group.FrameVOILUTSequence, group.PixelValueTransformationSequence = [window], [values]
        return group

    path = make_dicom(
        tmp_path / "x",
        np.stack([RAMP, RAMP]),
        frames=2,
        PerFrameFunctionalGroupsSequence=[frame(200.5, 1), frame(400.5, 2)],
    )
    assert levels(path, frame=0) == [0, 64, 128, 191, 255]
    assert levels(path, frame=1) == [0, 0, 128, 255, 255]


# What pydicom's own files show: three colour bars, real CT and MR, ultrasound in palette, RGB and YBR.


@pytest.mark.parametrize(
    "name",
    [
        "SC_rgb_rle.dcm",
        "SC_rgb_rle_16bit.dcm",
        "SC_rgb_rle_32bit.dcm",
        "SC_rgb_dcmtk_+eb+cr.dcm",
        "SC_rgb_dcmtk_+eb+cy+np.dcm",
        "SC_rgb_dcmtk_+eb+cy+s4.dcm",
        "SC_rgb_jpeg_dcmtk.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "SC_rgb_gdcm_KY.dcm",
    ],
)
def test_the_same_colour_bars_come_out_of_every_encoding(name):
    bars = pixels_of(bundled(name))
    expected = pixels_of(bundled("SC_rgb_rle.dcm"))
    assert bars.shape == (100, 100, 3)
    assert np.abs(bars[5::10, 50].astype(int) - expected[5::10, 50]).max() <= 6


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "MR_small_jp2klossless.dcm"],
)
def test_the_same_mr_slice_comes_out_of_every_lossless_encoding(name):
    np.testing.assert_array_equal(pixels_of(bundled(name)), pixels_of(bundled("MR_small.dcm")))


def test_a_real_ct_slice_is_windowed_in_hounsfield_units():
    path = bundled("CT_small.dcm")
    stored = pydicom.dcmread(path).pixel_array.astype(float) - 1024
    expected = np.clip((stored - 39.5) / 399 + 0.5, 0, 1) * 255
    np.testing.assert_allclose(pixels_of(path, window=(40, 400))[:, :, 0], expected, atol=0.51)


def test_an_ultrasound_image_in_palette_colour_has_its_colours():
    pixels = pixels_of(bundled("examples_palette.dcm"))
    assert pixels.shape == (350, 800, 3)
    assert pixels.max() > 240
    assert (pixels.max(axis=2).astype(int) - pixels.min(axis=2)).max() > 100


def test_an_ultrasound_clip_gives_one_image_per_frame(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        shutil.copy(bundled("examples_ybr_color.dcm"), tmp_path / label)
    source = open_dicom(tmp_path)
    assert len(source) == 60
    first, last = np.asarray(source.load(0)), np.asarray(source.load(29))
    assert first.shape == last.shape == (240, 320, 3)
    assert (first != last).any()


def test_a_binary_segmentation_is_black_and_white():
    assert set(np.unique(pixels_of(bundled("liver_1frame.dcm")))) == {0, 255}


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("MR_truncated.dcm", "damaged or unsupported DICOM"),
        ("rtplan.dcm", "the DICOM header has no Rows, Columns, PhotometricInterpretation"),
        ("no_meta.dcm", "not a DICOM file"),
        ("badVR.dcm", "damaged or unsupported DICOM"),
        ("meta_missing_tsyntax.dcm", "the DICOM header has no"),
    ],
)
def test_files_that_cannot_be_shown_say_why(name, reason):
    with pytest.raises(DataError, match=f"^x: {reason}"):
        pixels_of(bundled(name))


def test_a_compression_without_decoder_names_it_and_the_remedy():
    with pytest.raises(
        DataError,
        match=r"^x: compressed as JPEG-LS .*, which the installed decoders cannot read .* → pip install",
    ):
        without_decoders(bundled("MR_small_jpeg_ls_lossless.dcm"))


def without_decoders(path):
    decoder = pydicom.pixels.get_decoder(JPEGLSLossless)
    available, decoder._available = decoder._available, {}
    try:
        return pixels_of(path)
    finally:
        decoder._available = available


def test_a_frame_of_too_many_pixels_is_refused_before_decoding(tmp_path):
    path = make_dicom(tmp_path / "x", RAMP, Rows=60_000, Columns=60_000)
    with pytest.raises(DataError, match="60000 x 60000 pixels, more than 80 million"):
        pixels_of(path)


def loads(path):
    """Whether the file can be shown; whatever prevents it must name it."""
    try:
        return pixels_of(path).dtype == np.uint8
    except DataError as error:
        return not error.problem.startswith("x: ") and pytest.fail(f"{path} is not named: {error}")


def test_every_file_that_ships_with_pydicom_loads_or_says_why():
    assert sum(map(loads, sorted(bundled("CT_small.dcm").parent.glob("*.dcm")))) >= 48


def test_levels_keep_the_order_of_values():
    header = Dataset()
    header.PhotometricInterpretation = "MONOCHROME2"
    values = np.random.default_rng(0).integers(-2000, 3000, (20, 20), dtype=np.int16)
    shown = grey_levels(values, header).ravel()[np.argsort(values, axis=None)]
    assert (np.diff(shown.astype(int)) >= 0).all()
