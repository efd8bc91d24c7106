"""Representations: probes, few labels, compression."""


def test_representation_probes_draws_augments_and_compresses(example, tmp_path):
    small = ["--hidden", "64", "--plane-hidden", "32,16", "--channel-hidden", "64", "--batch-size", "250"]
    small += ["--epochs", "3", "--warm-up", "1", "--lr", "0.01"]
    few = ["--labels", "50,100", "--trials", "2", "--copies", "3", "--kl-weights", "1,30", "--channel", "8"]
    few += ["--evaluate", "8"]  # fewer than the pictures would show
    done = example("representation.py", *small, *few, folder=tmp_path)
    result = done.comparison()
    assert set(result) == {"probe", "plane", "augment", "compress"}
    assert result["probe"]["VAE-10"]["nearest"]["value"] > 0.6  # chance is 0.1
    assert result["plane"]["VAE-2"]["nearest"]["value"] > 0.2
    fewer, more = result["augment"]["pixels"].values()
    assert 0.5 < fewer[0] < more[0] < 1
    dear, cheap = result["compress"]["VAE"]
    assert cheap["rate"] < dear["rate"]
    assert dear["mse"] < cheap["mse"] < 0.07  # about what the mean of the digits leaves
    assert done.pictures() == {"augmented", "decoded", "few_labels", "rate_distortion"}
    assert {"latent_z", "manifold"} <= done.pictures("plane")
    assert done.stdout.count("--- codes") == 1  # trained once for the two parts that share it


def test_representation_knows_its_parts(example, tmp_path):
    done = example("representation.py", "--parts", "probe,map", folder=tmp_path, code=2)
    assert "--parts: there is no map" in done.stderr
