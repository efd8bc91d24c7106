"""The deep Markov model: nats per time step, and what it plays."""

import wave

import pytest

SMALL = ["--latent", "4", "--transition", "8", "--emission", "8", "--rnn", "8", "--batch-size", "100", "--length", "8"]


@pytest.mark.parametrize("flags", [[], ["--flows", "1", "--kind", "gru", "--warm-up", "0"]])
def test_deep_markov_scores_steps_and_plays(flags, example, tmp_path):
    done = example("deep_markov.py", *SMALL, "--lr", "0.03", *flags, folder=tmp_path)
    result = done.summary()
    nats = {name: one["value"] for name, one in result["nats_per_step"].items()}
    assert 4.5 < nats["exact"] < nats["log_evidence"] < nats["elbo"] < 20
    assert f"{nats['exact']:.2f}" in done.stdout
    assert result["train_loss_per_epoch"][1] < result["train_loss_per_epoch"][0]
    assert done.pictures() == {"curves", "rolls"}
    with wave.open(str(tmp_path / "drawn.wav")) as file:
        assert file.getnframes() == round(8 * 0.5 * file.getframerate())


def test_deep_markov_says_where_chorales_come_from(example, tmp_path):
    (tmp_path / "jsb-chorales-quarter.json").write_text("{")
    flags = ["--data", "chorales", "--root", str(tmp_path)]
    done = example("deep_markov.py", *flags, folder=tmp_path / "run", code=2)
    assert "--data chords" in done.stderr
