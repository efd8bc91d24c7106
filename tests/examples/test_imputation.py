"""Missing data: a table with several masks, and images."""


def test_imputation_fills_a_table_in(example, table, tmp_path):
    flags = ["--data", table, "--seeds", "2", "--hidden", "16", "--num-samples", "20", "--epochs", "30"]
    flags += ["--trees", "5"]
    done = example("imputation.py", *flags, folder=tmp_path)
    result = done.summary()
    usual = {"VAE", "mean", "KNNImputer", "IterativeImputer", "missForest-like"}
    linear = set(result["squared_error"]) - usual
    assert "factor analysis, 10" in linear
    assert "factor analysis, chosen" in linear
    assert len(linear) == 3
    assert all(len(errors) == 2 for errors in result["squared_error"].values())
    assert max(result["squared_error"]["VAE"]) < 2  # the columns have variance 1
    assert set(result["coverage"]) == {"0.5", "0.6", "0.7", "0.8", "0.9"}
    assert result["coverage"]["0.5"]["value"] < result["coverage"]["0.9"]["value"]
    assert "mean squared error, 2 masks" in done.stdout
    assert done.pictures() == {"columns", "coverage", "curves"}


def test_imputation_completes_images(example, digits, tmp_path):
    flags = ["--data", digits, "--hidden", "50", "--evaluate", "20", "--lr", "0.005", "--donors", "30"]
    done = example("imputation.py", *flags, folder=tmp_path)
    result = done.summary()
    assert result["squared_error"]["VAE"] < 0.2
    assert set(result["less"]) == {"mean", "KNNImputer"}
    assert "less KNNImputer" in done.stdout
    assert set(result["coverage"]) == {"pixels that vary", "ink of an image"}
    assert result["transform"] == "Binarize(mode='static', seed=0)"  # the truth is fixed
    assert done.pictures() == {"coverage", "curves", "imputations"}
