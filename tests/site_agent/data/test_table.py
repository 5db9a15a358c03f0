import numpy as np
import pytest
from pictures import make_folder, make_pixels, zip_folder

from federation.errors import DataError
from site_agent.data import open_source
from site_agent.dataset_config import Columns, CsvConfig

HEADER = "path,label,patient,split\n"


@pytest.fixture
def images(tmp_path):
    return make_folder(tmp_path / "images", {"x": 3})


def open_csv(root, text, encoding="utf-8", **options):
    table = root.parent / "labels.csv"
    table.write_text(text, encoding=encoding)
    options = {"images": root, **options}
    return open_source(CsvConfig(task="t", format="csv", table=table, **options))


def test_rows_give_path_label_patient_and_split(images):
    text = HEADER + "x/0.png,sick,p1,train\nx/1.png,well,p2,train\nx/2.png,well,p3,test\n"
    source = open_csv(images, text)
    assert source.class_names == ("sick", "well")
    assert source.labels.tolist() == [0, 1]
    assert source.patients == ("p1", "p2")
    assert source.splits == ("train", "train")
    assert source.name(1) == "x/1.png"
    np.testing.assert_array_equal(np.asarray(source.load(1)), make_pixels(1))
    assert len(open_csv(images, text, split="all")) == 3


def test_columns_may_have_other_names(images):
    columns = Columns(path="file", label="class", patient="group")
    text = "class,file,group,patient\nsick,x/0.png,g1,\nwell,x/1.png,g2,\n"
    source = open_csv(images, text, columns=columns)
    assert (source.patients, source.splits) == (("g1", "g2"), None)


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_separator_byte_order_mark_and_blank_lines_do_not_matter(images, separator):
    lines = ["path,label", "x/0.png,sick", "", "x/1.png, well "]
    source = open_csv(images, "\r\n".join(lines).replace(",", separator), encoding="utf-8-sig")
    assert source.class_names == ("sick", "well")


def test_images_default_to_the_folder_of_the_table(images):
    source = open_csv(images, "path,label\nimages/x/0.png,a\nimages/x/1.png,b\n", images=None)
    assert source.load(0).size == (24, 20)


def test_images_may_lie_in_an_archive(images, tmp_path):
    archive = zip_folder(images, tmp_path / "images.zip")
    source = open_csv(images, "path,label\n./x/0.png,a\nx\\1.png,b\n", images=archive)
    np.testing.assert_array_equal(np.asarray(source.load(1)), make_pixels(1))


def test_absolute_paths_below_the_root_are_accepted(images):
    source = open_csv(images, f"path,label\n{images}/x/0.png,a\nx/1.png,b\n")
    assert source.name(0) == "x/0.png"


@pytest.mark.parametrize("path", ["../secret.png", "x/../../secret.png", "/etc/passwd", "..\\secret.png"])
def test_paths_that_leave_the_root_are_refused(images, path):
    with pytest.raises(DataError, match=r"labels\.csv line 3: .* leads out of the images root"):
        open_csv(images, f"path,label\nx/0.png,a\n{path},b\n")


def test_a_missing_column_is_answered_with_those_that_exist(images):
    with pytest.raises(
        DataError, match=r"no single column 'label' for the label: it is not among \['path', 'class'\]"
    ):
        open_csv(images, "path,class\nx/0.png,a\n")
    with pytest.raises(DataError, match="column 'path' for the path: it is twice among"):
        open_csv(images, "path,label,path\nx/0.png,a,b\n")
    with pytest.raises(DataError, match="column 'group' for the patient"):
        open_csv(images, "path,label\nx/0.png,a\n", columns=Columns(patient="group"))


@pytest.mark.parametrize(
    ("row", "field"),
    [("x/1.png,,p,s", "label"), (",a,p,s", "path"), ("x/1.png,a,,s", "patient"), ("x/1.png,a,p, ", "split")],
)
def test_an_empty_cell_is_named_by_its_line(images, row, field):
    with pytest.raises(DataError, match=rf"labels\.csv line 3: the {field} is empty"):
        open_csv(images, HEADER + f"x/0.png,a,p,s\n{row}\n")


def test_a_row_of_the_wrong_width_is_named_by_its_line(images):
    with pytest.raises(DataError, match=r"line 3 has 3 cells, the header has 2"):
        open_csv(images, "path,label\nx/0.png,a\nx/1.png,a,b\n")


def test_an_image_named_twice_is_refused(images):
    with pytest.raises(DataError, match=r"names 'x/0\.png' twice, in lines 2 and 4"):
        open_csv(images, "path,label\nx/0.png,a\nx/1.png,b\n./x/0.png,b\n")


def test_missing_images_are_reported_when_read(images):
    source = open_csv(images, "path,label\nx/0.png,a\nx/gone.png,b\n")
    with pytest.raises(DataError, match=r"^x/gone\.png: no such file$"):
        source.load(1)


def test_a_wrong_images_root_is_noticed_at_once(images, tmp_path):
    (tmp_path / "other").mkdir()
    with pytest.raises(DataError, match=r"none of the 2 images that labels\.csv names exists below .*other"):
        open_csv(images, "path,label\nx/0.png,a\nx/1.png,b\n", images=tmp_path / "other")


def test_a_table_that_is_missing_empty_or_not_text_is_named(images, tmp_path):
    with pytest.raises(DataError, match=r"cannot read the table .*none\.csv \(No such file"):
        open_source(CsvConfig(task="t", format="csv", table=tmp_path / "none.csv"))
    with pytest.raises(DataError, match=r"labels\.csv has no single column 'path'"):
        open_csv(images, "")
    with pytest.raises(DataError, match="has no rows below its header"):
        open_csv(images, "path,label\n")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        open_csv(images, "path,label\nx/0.png,böse\n", encoding="latin-1")


def test_the_digest_changes_with_labels_and_patients(images):
    rows = ["x/0.png,a,p1,train", "x/1.png,b,p2,train"]
    digests = {
        open_csv(images, HEADER + "\n".join(text)).digest()
        for text in (
            rows,
            [rows[0].replace("p1", "p2"), rows[1]],
            [rows[0].replace("a,", "b,"), "x/1.png,a,p2,train"],
        )
    }
    assert len(digests) == 3
