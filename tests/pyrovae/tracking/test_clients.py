"""Each tracker's own client, for real and without a network: what was sent is read back."""

import json
import sys
from types import SimpleNamespace

import pytest

from pyrovae.inference import StopTraining
from pyrovae.tracking import tracker

PICTURES = {"latent_z", "reconstructions", "samples"}


def stop_at(epoch):
    def see(report):
        if report.epoch == epoch:
            raise StopTraining

    return see


# ------------------------------------------------------------------------------------------------- TensorBoard


def events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder / "tensorboard"), size_guidance={"images": 0, "scalars": 0}).Reload()


def test_tensorboard(train, tmp_path):
    pytest.importorskip("tensorboard")
    history = train([tracker("tensorboard", tmp_path)], run=tmp_path)
    found = events(tmp_path)
    assert set(found.Tags()["scalars"]) == set(history.rows[0])
    assert set(found.Tags()["images"]) == PICTURES
    for name in history.rows[0]:
        sent = [(event.step, event.value) for event in found.Scalars(name)]
        assert sent == [(epoch, pytest.approx(value)) for epoch, value in enumerate(history[name], 1)]
    assert found.Images("samples")[0].step == 2
    assert found.Images("samples")[0].encoded_image_string.startswith(b"\x89PNG")
    held = found.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    assert b"batch_size" in held


def test_tensorboard_goes_on_and_starts_again(train, tmp_path):
    pytest.importorskip("tensorboard")
    train([tracker("tensorboard", tmp_path), stop_at(2)], epochs=4, run=tmp_path)
    history = train([tracker("tensorboard", tmp_path)], epochs=4, run=tmp_path, resume=True)
    assert [event.step for event in events(tmp_path).Scalars("loss")] == [1, 2, 3, 4]
    history = train([tracker("tensorboard", tmp_path)], epochs=1, seed=3, run=tmp_path, overwrite=True)
    (event,) = events(tmp_path).Scalars("loss")  # those of the run that was replaced are hidden
    assert event.value == pytest.approx(history["loss"][0])


# ------------------------------------------------------------------------------------------------------ MLflow


def test_mlflow(train, tmp_path):
    mlflow = pytest.importorskip("mlflow")
    train([tracker("mlflow", tmp_path, project="vaes"), stop_at(2)], epochs=3, run=tmp_path)
    history = train([tracker("mlflow", tmp_path, project="vaes")], epochs=3, run=tmp_path, resume=True)
    client = mlflow.MlflowClient((tmp_path / "mlruns").as_uri())
    (run,) = client.search_runs([client.get_experiment_by_name("vaes").experiment_id])
    assert (run.info.status, run.info.run_name) == ("FINISHED", tmp_path.name)
    assert run.data.params["batch_size"] == "30"
    assert run.data.params["model"] == "pyrovae.models.vae.VAE"
    for name in history.rows[0]:
        sent = [(metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, name)]
        assert sorted(sent) == [(epoch, pytest.approx(value)) for epoch, value in enumerate(history[name], 1)]
    assert {part.path for part in client.list_artifacts(run.info.run_id)} == PICTURES


# -------------------------------------------------------------------------------------------- Weights & Biases


def test_wandb(train, tmp_path):
    pytest.importorskip("wandb")
    history = train([tracker("wandb", tmp_path)], run=tmp_path)
    noted = json.loads((tmp_path / "tracking.json").read_text())["wandb"]
    (folder,) = (tmp_path / "wandb").glob("offline-run-*")
    assert folder.name.endswith(noted["run"])
    (file,) = folder.glob("*.wandb")
    content = file.read_bytes()
    assert all(name.encode() in content for name in (*history.rows[0], *PICTURES, "batch_size"))
    assert len(list((folder / "files" / "media" / "images").glob("*.png"))) == 3


# ----------------------------------------------------------------------------------------------------- trackio


def test_trackio_is_sent_what_it_takes(train, tmp_path, monkeypatch):
    """A stand-in, which records the calls: trackio keeps Pillow back, so it is not always there."""
    said = []

    class Run:
        name = "quiet-lake-1"

        def log(self, values, step):
            said.append((step, values))

        def finish(self):
            said.append("finished")

    def init(**options):
        said.append(options)
        return Run()

    stand_in = SimpleNamespace(init=init, Image=lambda picture: picture.size)
    monkeypatch.setitem(sys.modules, "trackio", stand_in)
    history = train([tracker("trackio", tmp_path, project="vaes")], run=tmp_path)
    train([tracker("trackio", tmp_path, project="vaes", pictures=False)], epochs=3, run=tmp_path, resume=True)
    first, one, two, *pictures, ended, again, _, _ = said
    assert (first["project"], first["name"], first["config"]["batch_size"]) == ("vaes", None, 30)
    assert (one[0], two[0], ended) == (1, 2, "finished")
    assert two[1]["elbo"] == history["elbo"][1]
    assert two[1]["steps"] == history["step"][1]
    assert {name for _, values in pictures for name in values} == PICTURES
    assert (again["name"], again["resume"]) == ("quiet-lake-1", "allow")


def test_trackio(train, tmp_path, monkeypatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    history = train([tracker("trackio", tmp_path, project="vaes")], run=tmp_path)
    run = json.loads((tmp_path / "tracking.json").read_text())["trackio"]["run"]
    logs = SQLiteStorage.get_logs("vaes", run)
    assert [entry["elbo"] for entry in logs if "elbo" in entry] == pytest.approx(history["elbo"])
    assert {name for entry in logs for name in entry} >= PICTURES
