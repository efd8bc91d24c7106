"""Callbacks, trackers and streams on two processes."""

import json
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
import torch
from pyrovae.data import Binarize
from pyrovae.inference import StopTraining, evaluate, fit
from pyrovae.inference.processes.launch import current
from pyrovae.tracking import Client, Tracker

spec = spec_from_file_location("work", {work!r})
work = module_from_spec(spec)
spec.loader.exec_module(work)
folder, sent, seen = Path(sys.argv[1]), [], []

class Recorder(Client):
    open = lambda self, run, settings, epoch: "run"
    log = lambda self, row, epoch: sent.append(epoch)
    show = lambda self, name, picture, epoch: None
    close = lambda self, failed: sent.append("closed")

def see(report):
    evaluate(report.model, report.guide, report.data, transform=report.transform)  # all processes take part
    seen.append(report.epoch)
    if report.epoch == 2 and (current().alone or not current().main):  # one of them asks to stop
        raise StopTraining

batches = work.images(64)["x"].split(8)
stream = ({{"x": batches[i % 8]}} for i in range(100))
torch.manual_seed(0)
pair = work.plain()
options = {{"progress": False, "compile": False, "valid": work.images(16, 2), "transform": Binarize("threshold")}}
history = fit(*pair, stream, steps=40, steps_per_epoch=8, callbacks=[see, Tracker(Recorder(), "x", folder)], **options)
rank = 0 if current().alone else current().rank
found = {{"loss": history["loss"], "elbo": history["elbo"], "stopped": history.stopped, "seen": seen, "sent": sent}}
(folder / f"{{rank}}.json").write_text(json.dumps(found))
"""


@pytest.mark.slow
def test_two_processes_see_the_same_epochs_of_a_stream_and_stop_together(two, tmp_path):
    start, _ = two
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(work=str(Path(__file__).with_name("work.py"))))
    found = {}
    for size in (1, 2):
        folder = tmp_path / str(size)
        folder.mkdir()
        for process in start(script, folder, size=size):
            _, error = process.communicate(timeout=300)
            assert process.returncode == 0, error
        found[size] = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(size)]
    (alone,), (first, second) = found[1], found[2]
    assert alone["stopped"] == first["stopped"] == second["stopped"] == "callback"
    assert alone["seen"] == first["seen"] == second["seen"] == [1, 2]
    assert alone["sent"] == first["sent"] == [1, 2, "closed"]
    assert second["sent"] == []
    for name in ("loss", "elbo"):
        assert first[name] == second[name] == pytest.approx(alone[name], rel=2e-4)
