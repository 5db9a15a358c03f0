"""Reading a study: what it holds, and one clear error for each thing that may be wrong with it."""

import numpy as np
import pytest
from study_files import SETTING, StudyFiles

from aggregator.study import Setting
from aggregator.validation.coverage import check_judgeable
from aggregator.validation.directory import read_study
from federation.errors import StudyError


@pytest.fixture
def files(tmp_path):
    return StudyFiles(tmp_path)


def test_targets_come_first_and_source_only_tasks_after_them(files):
    study = read_study(files.write())
    assert (study.tasks, study.targets) == (("a", "b", "c", "d"), ("a", "b", "c"))


def test_a_target_is_represented_by_its_800_image_version_unless_it_was_not_reduced(files):
    distances = read_study(files.write()).distances["near"]
    # Rows of the file are 1…5, 6…10, 11…15, 16…20 under the columns a, b, c, a@800, b@800.
    assert distances[:, 0].tolist()[1:] == [9, 14, 19]
    assert distances[:, 1].tolist()[2:] == [12, 17]
    assert np.isnan(distances[:, 3]).all()
    assert np.isnan(np.diag(distances)).all()


def test_tasks_that_share_images_never_serve_each_other(files):
    study = read_study(files.write())
    assert not study.allowed[0, 1]
    assert not study.allowed[1, 0]
    assert study.allowed[3, 0]
    assert study.candidates(SETTING)[:, 0].tolist() == [False, False, True, True]


def test_targets_with_fewer_than_two_candidates_are_not_judged(files):
    files.outcomes = [line for line in files.outcomes if line[1:3] != ["c", "a"]]
    assert read_study(files.write()).target_indices(SETTING) == (1, 2)


def test_the_most_specific_baseline_counts(files):
    files.table("outcomes/baseline_full_ba.csv", [["", "a", "b", "c"], ["0", "0.1", "0.2", "0.3"]])
    files.table(
        "outcomes/baseline_shrunk_800_BA.csv", [["", "a", "b"], ["0", "0.4", "0.5"], ["1", "0.6", ""]]
    )
    study = read_study(files.write())
    assert study.outcomes[SETTING].mean_baseline[:3] == pytest.approx([0.5, 0.2, 0.3])
    files.table("outcomes/baseline_pretraining_ba.csv", [["", "c"], ["0", "0.7"]])
    assert read_study(files.folder).outcomes[SETTING].mean_baseline[2] == pytest.approx(0.7)


def test_equal_means_are_equal_whatever_the_order_of_seeds(files):
    values = ("0.1", "0.7", "0.3")
    files.outcomes = [files.outcomes[0]] + [
        [str(seed), source, "c", values[(seed + shift) % 3]]
        for shift, source in enumerate("abd")
        for seed in range(3)
    ]
    performance = read_study(files.write()).outcomes[SETTING].performance[[0, 1, 3], 2]
    assert len(set(performance.tolist())) == 1


def test_names_of_metrics_are_read_in_any_case_and_may_be_new(files):
    files.write()
    (files.folder / "outcomes/pretraining_ba.csv").rename(files.folder / "outcomes/Co_Training_Macro_F1.csv")
    assert list(read_study(files.folder).outcomes) == [Setting("co_training", "macro_f1")]


def test_task_facts_are_optional_cell_by_cell(files):
    header = ["name", "num_classes", "num_samples", "domains", "keywords"]
    files.table(
        "task_infos.csv", [header, ["a", "2", "", "x-ray", "['lung', 'medical']"], ["b", "nan", "1", "", ""]]
    )
    facts = read_study(files.write()).facts
    assert (facts["a"].num_classes, facts["a"].domain) == (2, "x-ray")
    assert facts["a"].keywords == {"lung", "medical"}
    assert np.isnan([facts["a"].num_samples, facts["b"].num_classes]).all()


def test_descriptions_and_baselines_of_other_tasks_are_noted_where_none_is_missing(files):
    files.table("task_infos.csv", [["name"], *([task] for task in "abcdzy")])
    files.table("outcomes/baseline_full_ba.csv", [["", *"abcz"], ["0", "0.1", "0.2", "0.3", "0.4"]])
    notes = read_study(files.write()).notes
    assert [note.rpartition("/")[2] for note in notes] == [
        "baseline_full_ba.csv: 'z': no task of this study",
        "task_infos.csv: 'z' and 1 more: no task of this study",
    ]


def test_tables_and_keys_that_nothing_uses_are_noted(files):
    files.tasks["comment"] = "x"
    files.table("outcomes/baseline_full_auroc.csv", [["", "a"], ["0", "0.5"]])
    files.table("outcomes/baseline_co_training_ba.csv", [["", *"abc"], ["0", "0.5", "0.5", "0.5"]])
    notes = read_study(files.write()).notes
    assert [note.rpartition("/")[2] for note in notes] == [
        "tasks.json: nothing reads 'comment'",
        "baseline_co_training_ba.csv is not used: there are no outcomes of its scenario and metric",
        "baseline_full_auroc.csv is not used: there are no outcomes of its scenario and metric",
    ]


def test_infinite_distances_are_unknown_and_noted_and_nan_is_an_empty_cell(files):
    files.distance[2][1:3] = ["inf", "nan"]
    files.distance[2][4] = "inf"
    study = read_study(files.write())
    assert np.isnan(study.distances["near"][1, 0])
    assert "near.csv: infinite distances (2) stand last" in study.notes[0]
    assert len(study.notes) == 1


def test_groups_may_be_null(files):
    files.tasks["groups"] = None
    assert read_study(files.write()).groups == {}


def test_seeds_are_numbers_however_they_are_written(files):
    files.table("outcomes/baseline_full_ba.csv", [["", "a"], ["00", "0.5"], ["01", "0.6"]])
    assert read_study(files.write()).outcomes[SETTING].seeds == ("0", "1")


def test_a_study_in_which_nobody_has_a_choice_is_refused(files):
    files.tasks["groups"] = {"all": ["a", "b", "c", "d"]}
    with pytest.raises(StudyError, match=r"nothing can be judged: .* \(the most is 0;"):
        check_judgeable(read_study(files.write()))


def _rename_source(files):
    files.outcomes[1][1] = "zebra"


def _rename_row(files):
    files.distance[1][0] = "zebra"


def _drop_target_column(files):
    files.distance = [line[:3] + line[4:] for line in files.distance]


def _unknown_target(files):
    files.tasks["targets"].append("zebra")


def _unmeasured_targets(files):
    files.tasks["targets"] = ["d"]
    files.distance = [[*line, "d" if i == 0 else "1"] for i, line in enumerate(files.distance)]


def _nan_outcome(files):
    files.outcomes[1][3] = "nan"


def _infinite_outcome(files):
    files.outcomes[1][3] = "inf"


def _worded_outcome(files):
    files.outcomes[1][3] = "good"


def _empty_outcome(files):
    files.outcomes[1][3] = ""


def _no_value_column(files):
    files.outcomes[0][3] = "score"


def _duplicate_outcome(files):
    files.outcomes.append([*files.outcomes[1][:3], "0.9"])


def _no_outcome_lines(files):
    files.outcomes = files.outcomes[:1]


def _swapped_axes(files):
    files.distance = [list(line) for line in zip(*files.distance, strict=True)]


def _swapped_axes_of_full_targets(files):
    files.distance = [list(line) for line in zip(*(line[:4] for line in files.distance), strict=True)]


def _swapped_axes_by_heading(files):
    files.distance[0][0] = "target"


def _ragged_matrix(files):
    files.distance[1] = files.distance[1][:-1]


def _missing_source_row(files):
    del files.distance[2]


def _duplicate_row(files):
    files.distance.append(files.distance[1])


def _duplicate_column(files):
    files.distance[0][2] = "a"


def _worded_distance(files):
    files.distance[1][1] = "near"


def _no_targets(files):
    files.tasks = {"groups": {}}


def _target_twice(files):
    files.tasks["targets"] = ["a", "a"]


def _unknown_group_member(files):
    files.tasks["groups"]["pair"] = ["a", "zebra"]


def _group_is_text(files):
    files.tasks["groups"] = "pair"


def _unknown_scenario(files):
    files.table("outcomes/teleportation_ba.csv", files.outcomes)


def _unknown_baseline(files):
    files.table("outcomes/baseline_teleportation_ba.csv", [["", "a"], ["0", "0.5"]])


def _misspelt_key(files):
    files.tasks["group"] = {}


def _nested_groups(files):
    files.tasks["groups"] = {"pair": [["a", None]]}


def _per_cent(files):
    files.outcomes[1][3] = "93"


def _seed_with_a_point(files):
    files.outcomes[1][0] = "1.5"


def _endless_seed(files):
    files.outcomes[1][0] = "9" * 5000


def _source_is_target(files):
    files.outcomes[1][1] = files.outcomes[1][2]


def _extra_cell(files):
    files.outcomes[1].append("5")


def _underscored_number(files):
    files.outcomes[1][3] = "0_1"


def _endless_cell(files):
    files.outcomes[1][1] = "a" * 200_000


def _no_metric(files):
    files.table("outcomes/pretraining.csv", files.outcomes)


def _per_cent_baseline(files):
    files.table("outcomes/baseline_full_ba.csv", [["", "a"], ["0", "81"]])


def _misspelt_baseline(files):
    files.table("outcomes/baseline_full_ba.csv", [["", "zebra", "b", "c"], ["0", "0.5", "0.5", "0.5"]])


def _baseline_of_no_seed(files):
    files.table("outcomes/baseline_full_ba.csv", [["", "a"], ["mean", "0.5"]])


def _baseline_seed_twice(files):
    files.table("outcomes/baseline_full_ba.csv", [["", "a"], ["0", "0.5"], ["00", "0.5"]])


def _misspelt_description(files):
    files.table("task_infos.csv", [["name"], ["zebra"], ["b"], ["c"], ["d"]])


def _worded_size(files):
    files.table("task_infos.csv", [["name", "num_samples"], ["a", "many"]])


def _negative_size(files):
    files.table("task_infos.csv", [["name", "num_samples"], ["a", "-5"]])


def _enormous_size(files):
    files.table("task_infos.csv", [["name", "num_samples"], ["a", "1e308"]])


def _reserved_name(files):
    files.table("distances/Random.csv", files.distance)


def _blank_distance(files):
    files.distance = [files.distance[0], *([line[0], *[""] * 5] for line in files.distance[1:])]


def _below_every_distance(files):
    files.distance[1][2] = "-inf"


def _setting_twice(files):
    files.table("outcomes/PRETRAINING_ba.csv", files.outcomes)


@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (_rename_source, ["near.csv", "no row", "'zebra'", "pretraining_ba.csv"]),
        (_rename_row, ["near.csv", "no row", "'a'", "pretraining_ba.csv"]),
        (_drop_target_column, ["near.csv", "no column", "'c'"]),
        (_unknown_target, ["near.csv", "no column", "'zebra'", "tasks.json"]),
        (_unmeasured_targets, ["tasks.json", "none of its 1 targets has an outcome"]),
        (_nan_outcome, ["pretraining_ba.csv, line 2", "'nan'", "no finite number"]),
        (_infinite_outcome, ["pretraining_ba.csv, line 2", "'inf'", "no finite number"]),
        (_worded_outcome, ["pretraining_ba.csv, line 2", "'good'"]),
        (_empty_outcome, ["pretraining_ba.csv, line 2", "no value"]),
        (_no_value_column, ["pretraining_ba.csv", "no column 'value'"]),
        (_duplicate_outcome, ["line 20", "seed '0'", "'a' for 'b'", "twice"]),
        (_no_outcome_lines, ["pretraining_ba.csv", "no outcomes"]),
        (_swapped_axes, ["near.csv", "axes swapped", "'a@800'", "rows are sources"]),
        (_swapped_axes_of_full_targets, ["near.csv", "axes swapped", "rows hold all targets"]),
        (_swapped_axes_by_heading, ["near.csv", "axes swapped", "'target'"]),
        (_ragged_matrix, ["near.csv", "row 'a'", "4 values for 5 columns"]),
        (_missing_source_row, ["near.csv", "no row", "'b'"]),
        (_duplicate_row, ["near.csv", "row 'a' twice"]),
        (_duplicate_column, ["near.csv", "column 'a' twice"]),
        (_worded_distance, ["near.csv", "row 'a', column 'a'", "'near'"]),
        (_no_targets, ["tasks.json", "no targets"]),
        (_target_twice, ["tasks.json", "'a' twice"]),
        (_unknown_group_member, ["tasks.json", "group 'pair'", "'zebra'"]),
        (_group_is_text, ["tasks.json", "'groups'"]),
        (_unknown_scenario, ["teleportation_ba.csv", "no scenario 'teleportation'", "co_training"]),
        (_unknown_baseline, ["baseline_teleportation_ba.csv", "no scenario 'teleportation'"]),
        (_setting_twice, ["same setting"]),
        (_misspelt_key, ["tasks.json", "unknown key 'group'", "targets, groups, not_shrunk"]),
        (_nested_groups, ["tasks.json", "'groups.pair' is", "null"]),
        (_per_cent, ["pretraining_ba.csv, line 2", "93", "ba lies between 0 and 1", "not per cent"]),
        (_seed_with_a_point, ["pretraining_ba.csv, line 2", "seed is '1.5'", "whole number"]),
        (_endless_seed, ["pretraining_ba.csv, line 2", "seed is", "whole number"]),
        (_source_is_target, ["pretraining_ba.csv, line 2", "'b' is source and target"]),
        (_extra_cell, ["pretraining_ba.csv, line 2", "5 cells for 4 columns"]),
        (_underscored_number, ["pretraining_ba.csv, line 2", "'0_1'"]),
        (_endless_cell, ["pretraining_ba.csv", "field larger", "quotation mark"]),
        (_no_metric, ["pretraining.csv", "names no metric", "pretraining_auroc.csv"]),
        (_per_cent_baseline, ["baseline_full_ba.csv: row '0', column 'a'", "81", "not per cent"]),
        (_misspelt_baseline, ["baseline_full_ba.csv", "'zebra'", "'a' has no entry"]),
        (_baseline_of_no_seed, ["baseline_full_ba.csv", "seed is 'mean'"]),
        (_baseline_seed_twice, ["baseline_full_ba.csv", "seed 0 twice"]),
        (_misspelt_description, ["task_infos.csv", "'zebra'", "'a' has no entry"]),
        (_worded_size, ["task_infos.csv", "num_samples of 'a' is 'many'", "leave the cell empty"]),
        (_negative_size, ["task_infos.csv", "num_samples of 'a' is '-5'"]),
        (_enormous_size, ["task_infos.csv", "num_samples of 'a' is '1e308'"]),
        (_reserved_name, ["Random.csv", "reference of their own", "no_transfer"]),
        (_blank_distance, ["near.csv", "no distance between two tasks"]),
        (_below_every_distance, ["near.csv", "-inf"]),
    ],
    ids=lambda each: each.__name__.strip("_") if callable(each) else "",
)
def test_what_does_not_fit_is_one_error_that_names_place_and_remedy(files, break_it, expected):
    break_it(files)
    with pytest.raises(StudyError) as refused:
        read_study(files.write())
    for part in expected:
        assert part in str(refused.value)
    assert refused.value.remedy


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(StudyError, match="not a directory"):
        read_study(tmp_path / "nowhere")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(StudyError, match="holds no CSV file"):
        read_study(tmp_path)


def test_a_study_without_its_task_list_is_refused(files):
    (files.write() / "tasks.json").unlink()
    with pytest.raises(StudyError, match=r"tasks\.json is missing"):
        read_study(files.folder)


@pytest.mark.parametrize("text", ["{", "[]", '"targets"', "[" * 100_000])
def test_a_task_list_that_is_no_json_object_is_refused(files, text):
    (files.write() / "tasks.json").write_text(text)
    with pytest.raises(StudyError, match="JSON"):
        read_study(files.folder)


def test_outcomes_of_tasks_that_are_not_listed_are_history_only(files):
    files.tasks["targets"] = ["c", "b"]
    study = read_study(files.write())
    assert study.tasks == ("c", "b", "a", "d")
    assert study.target_indices(SETTING) == (0, 1)
    assert np.isfinite(study.outcomes[SETTING].performance[3, 2])
