import pytest
from learnable_tasks import open_run, same_arrays, striped_task, train_step

HEAD = {"trainable": "head", "epochs": 60, "learning_rate": 0.3, "draws": 192}


def test_a_head_alone_learns_something(tmp_path):
    run = open_run(striped_task(), train_step(recipe=HEAD), tmp_path / "step")
    run.advance(1e9)
    assert run.measure("test").scores["auroc"].value > 0.85


def test_the_network_below_stays_as_it_was(tmp_path):
    run = open_run(striped_task(), train_step(recipe=HEAD), tmp_path / "step")
    before = run.backbone()[1]
    run.advance(1e9)
    assert same_arrays(run.backbone()[1], before)


def test_measured_through_the_whole_network_it_has_the_same_figures(tmp_path):
    source = striped_task()
    run = open_run(source, train_step(recipe=HEAD), tmp_path / "step")
    run.advance(1e9)
    fast = run.measure("test").scores
    whole = open_run(
        source, train_step(start="0" * 64), tmp_path / "other", start=run.backbone()[1], head=run.head()
    )
    slow = whole.measure("test").scores
    for name, score in fast.items():
        assert slow[name].value == pytest.approx(score.value, abs=2e-4)
        assert slow[name].low == pytest.approx(score.low, abs=2e-3)


def test_features_are_computed_once_for_all_seeds(tmp_path):
    source = striped_task()
    model = open_run(source, train_step(), tmp_path / "model").backbone()[1]
    kept = []
    for seed in (0, 1):
        step = train_step(recipe=HEAD, seed=seed, start="0" * 64)
        open_run(source, step, tmp_path / f"step {seed}", start=model).advance(1e9)
        kept.append({path: path.stat().st_mtime_ns for path in tmp_path.glob("images/*/rows.npy")})
    assert len(kept[0]) == 2
    assert kept[0] == kept[1]


def test_features_of_other_weights_are_others(tmp_path):
    source = striped_task()
    for seed in (0, 1):
        open_run(source, train_step(recipe=HEAD, seed=seed), tmp_path / f"step {seed}").advance(1e9)
    assert len(list(tmp_path.glob("images/*/rows.npy"))) == 3


def test_a_note_says_that_nothing_was_augmented(tmp_path):
    run = open_run(striped_task(), train_step(recipe=HEAD), tmp_path / "step")
    run.advance(1e9)
    assert any("without augmentation" in note for note in run.measure("test").notes)
