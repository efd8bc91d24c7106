"""Anomalies: rows of a table, and a digit that was held out."""

SMALL = ["--hidden", "64,32", "--batch-size", "250", "--classes", "1", "--lr", "0.005"]


def test_anomaly_detection_finds_malignant_rows_and_a_held_out_digit(example, tmp_path):
    flags = ["--regret", "20", "--splits", "1", "--table-epochs", "40"]
    done = example("anomaly_detection.py", *SMALL, *flags, folder=tmp_path)
    result = done.comparison()
    assert result["table"]["VAE, elbo"][0]["auroc"] > 0.9
    assert result["images"]["VAE, complexity"][0]["auroc"] > 0.9 > 0.5 > result["images"]["VAE, error"][0]["auroc"]
    names = {"IsolationForest", "LocalOutlierFactor", "PCA, squared error", "5 nearest, distance"}
    assert names < set(result["table"])
    assert names < set(result["images"])
    assert {one[0]["seen"] for one in result["images"].values()} == {result["images"]["VAE, elbo"][0]["seen"]}
    assert "rows seen" in done.stdout
    assert "threshold for 5% false alarms" in done.stdout
    assert done.pictures() == {"table_columns", "table_curves"}
    assert {"anomalies", "curves"} <= done.pictures("class-1")


def test_anomaly_detection_with_one_normal_digit(example, tmp_path):
    flags = ["--regret", "0", "--parts", "images", "--normal", "one", "--kinds", "error", "--epochs", "10"]
    done = example("anomaly_detection.py", *SMALL, *flags, "--baseline-images", "150", folder=tmp_path)
    result = done.comparison()["images"]
    assert result["VAE, error"][0]["auroc"] > 0.9
    assert result["VAE, error"][0]["seen"] > result["LocalOutlierFactor"][0]["seen"] == 150
