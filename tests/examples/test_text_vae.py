"""Sentences: a VAE of text against a language model."""

import math

TEXT = ["--hidden", "8", "--embedding", "4", "--latent", "2", "--batch-size", "8", "--epochs", "4"]


def test_text_vae_against_a_language_model(example, phrases, tmp_path):
    done = example("text_vae.py", *TEXT, "--data", phrases, "--lr", "0.02", folder=tmp_path)
    table = done.comparison()
    assert list(table) == ["lm", "collapsed", "vae", "iwae"]
    assert done.stdout.count("nats per data point, exact") == 1
    assert done.stdout.count("importance sampling") == 3
    for variant, row in table.items():
        assert 1 < row["perplexity"]["value"] < 19  # that of uniform words
        losses = done.summary(variant)["train_loss_per_epoch"]
        assert losses[-1] < losses[0] or variant in ("vae", "iwae")
    assert table["lm"]["rate"]["value"] == table["lm"]["active"] == 0
    assert table["vae"]["rate"]["value"] > table["collapsed"]["rate"]["value"]
    for variant in ("collapsed", "vae", "iwae"):
        gain = table[variant]["log_evidence"]["value"] - table["lm"]["log_evidence"]["value"]
        assert abs(table[variant]["less_lm"]["value"] - gain) < 1e-4
        assert table[variant]["less_lm"]["error"] > 0
    assert "less_lm" not in table["lm"]
    assert "from its code, by beam search" in (tmp_path / "vae" / "sentences.txt").read_text()
    assert done.pictures("vae") == {"curves", "latent_z"}


def test_text_vae_by_a_transformer_with_an_aggressive_guide(example, phrases, tmp_path):
    flags = ["--data", phrases, "--level", "char", "--variants", "vae", "--decoder", "transformer", "--every", "3"]
    done = example("text_vae.py", *TEXT, *flags, "--lr", "0.01", folder=tmp_path)
    assert done.summary("vae")["elbo"]["value"] > -27 * math.log(30)


def test_text_vae_with_a_share_of_true_tokens(example, phrases, tmp_path):
    """The table says that the loss of training is no bound; the scores are those of the decoder with true tokens."""
    flags = ["--data", phrases, "--variants", "vae", "--teacher-forcing", "0.5", "--lr", "0.02"]
    done = example("text_vae.py", *TEXT, *flags, folder=tmp_path / "half")
    assert "its loss bounds no log p(x)" in done.stdout
    assert 1 < done.summary("vae")["perplexity"]["value"] < 19
    wrong = example("text_vae.py", *flags, "--decoder", "transformer", folder=tmp_path / "run", code=2)
    assert "--teacher-forcing below 1 requires --decoder lstm" in wrong.stderr


def test_text_vae_names_the_fault_of_a_file(example, tmp_path):
    (tmp_path / "latin.txt").write_bytes("caf\u00e9".encode("latin-1"))
    done = example("text_vae.py", "--data", str(tmp_path / "latin.txt"), folder=tmp_path / "run", code=2)
    assert "not UTF-8: byte 0xe9 in line 1" in done.stderr
