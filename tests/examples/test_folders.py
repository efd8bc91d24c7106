"""What happens before a script begins: its flags are read, and its run folder is chosen."""

import itertools
import os
import shutil

import pytest

from pyrovae.examples import _shared as shared


def flags_of(folder, *argv):
    return shared.parser("An example.", out=str(folder), epochs=2).parse_args(list(argv))


@pytest.fixture
def runs(tmp_path):
    """Start a script that trains at once: its flags, and the number of the folder that it took."""
    default, times = tmp_path / "runs" / "x", itertools.count(1000)

    def script(flags):
        flags.out.mkdir(parents=True, exist_ok=True)
        (flags.out / "checkpoint.pt").write_text("")
        touch(flags.out / "checkpoint.pt")
        used.append(flags.out.name)

    def touch(file):
        now = next(times)
        os.utime(file, (now, now))

    def run(*argv):
        return shared.main(script, flags_of(default, *argv)) or used[-1]

    used = []
    run.default, run.touch = default, touch
    return run


def test_a_run_folder_that_is_taken_gets_a_number(runs, capsys):
    assert [runs(), runs(), runs()] == ["x", "x-2", "x-3"]
    said = capsys.readouterr().out
    assert f"run     {runs.default}-2, because {runs.default} is taken\n" in said
    assert f"run     {runs.default}-3, because {runs.default}-2 is taken\n" in said


def test_resume_and_overwrite_take_the_newest_run(runs, capsys):
    """One rule for both: the time of the last checkpoint, whatever the number of the folder."""
    assert [runs(), runs(), runs()] == ["x", "x-2", "x-3"]
    runs.touch(runs.default.with_name("x-2") / "checkpoint.pt")
    capsys.readouterr()
    assert [runs("--resume"), runs("--overwrite")] == ["x-2", "x-2"]
    said = capsys.readouterr().out
    assert f"run     {runs.default}-2, which is the newest run\n" in said
    assert f"run     {runs.default}-2, which is replaced\n" in said
    assert said.index("which is replaced") < said.rindex("results are in")
    (runs.default / "part").mkdir()
    (runs.default / "part" / "metrics.csv").write_text("")  # a script of several runs
    runs.touch(runs.default / "part" / "metrics.csv")
    assert [runs("--overwrite"), runs("--resume")] == ["x", "x"]
    shutil.rmtree(runs.default.with_name("x-2"))
    runs.touch(runs.default.with_name("x-3") / "checkpoint.pt")
    assert runs("--overwrite") == "x-3"  # a gap in the numbers hides none


def test_overwrite_without_a_run_replaces_nothing(runs, capsys):
    runs.default.mkdir(parents=True)
    (runs.default / "notes.txt").write_text("mine")
    assert runs("--resume") == 2
    assert runs("--overwrite") == "x-2"
    assert "replaced" not in capsys.readouterr().out


def test_a_run_folder_that_was_named_is_not_replaced(tmp_path, capsys):
    (tmp_path / "comparison.json").write_text("{}")
    named = ["--out", str(tmp_path)]
    assert shared.main(lambda flags: None, flags_of("x", *named)) == 2
    assert "resume=True (--resume)" in capsys.readouterr().err
    assert shared.main(lambda flags: None, flags_of("x", *named, "--overwrite")) == 0
    assert shared.main(lambda flags: None, flags_of("x", *named, "--resume")) == 2
    assert "--resume requires a run" in capsys.readouterr().err
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "checkpoint.pt").write_text("")  # a script of several runs
    assert shared.main(lambda flags: None, flags_of("x", *named, "--resume")) == 0


def test_a_misspelt_data_set_takes_no_run_folder(runs, capsys):
    runs()
    capsys.readouterr()
    assert runs("--data", "minst") == 2
    assert runs("--data", "none.csv") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "the nearest name is 'mnist'" in err
    assert "No such file: none.csv" in err


def test_a_wrong_value_is_one_line(capsys):
    with pytest.raises(SystemExit) as stopped:
        flags_of("x", "--epochs", "two")
    assert stopped.value.code == 2
    err = capsys.readouterr().err
    assert err.startswith("error: argument --epochs: ")
    assert err.count("\n") == 1
    assert "--help lists the flags" in err


def test_help_is_in_groups_and_begins_with_the_examples_own_flags():
    p = shared.parser("An example.", out="x", epochs=2)
    p.add_argument("--own", help="a flag of this example")
    text = p.format_help()
    order = [
        "options:",
        "--own",
        "data:",
        "--data",
        "training:",
        "--epochs",
        "computation:",
        "--seed",
        "results:",
        "--out",
    ]
    assert [text.index(f"{word}") for word in order] == sorted(text.index(f"{word}") for word in order)
