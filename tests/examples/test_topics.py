"""Topics of documents: each variant, its files and its pictures."""

import pytest

PETS, SKY = ("cat", "dog", "hen", "fox", "cow", "pig"), ("sun", "sky", "star", "moon", "rain", "wind")


@pytest.fixture
def corpus(tmp_path):
    """Two hundred documents of five words, on pets or on the sky, in OCTIS's form."""
    lines = []
    for i in range(200):
        words = (PETS, SKY)[i % 2]
        split = "test" if i % 10 > 7 else "val" if i % 10 > 5 else "train"
        lines.append(f"{' '.join(words[(i // 2 + j) % 6] for j in range(5))}\t{split}\t{('pets', 'sky')[i % 2]}")
    (tmp_path / "corpus.tsv").write_text("\n".join(lines))
    return str(tmp_path / "corpus.tsv")


def test_topics_by_each_variant(example, corpus, tmp_path):
    flags = ["--data", corpus, "--variants", "prodlda,etm,dirichlet", "--topics", "2", "--batch-size", "20"]
    done = example("topics.py", *flags, "--epochs", "20", "--lr", "0.02", "--hidden", "8", folder=tmp_path / "run")
    table = done.comparison()
    assert list(table) == ["prodlda", "etm", "dirichlet"]
    for variant, row in table.items():
        assert -1 <= row["npmi"] <= 1
        assert 0.5 <= row["diversity"] <= 1
        assert 1.5 < row["nats_per_word"]["value"] < 2.6  # the logarithms of 6 and of 12 are 1.8 and 2.5
        assert done.summary(variant)["nats_per_word"] == row["nats_per_word"]
        assert {"curves", "topics", "labels"} <= done.pictures(variant)
        assert "mean NPMI" in (tmp_path / "run" / variant / "topics.txt").read_text()
    assert "of the words in their order" in done.stdout


def test_topics_with_places_of_words_from_the_documents(example, corpus, tmp_path):
    flags = ["--data", corpus, "--variants", "etm", "--topics", "2", "--embeddings", "documents", "--kl-weight", "0.5"]
    done = example("topics.py", *flags, folder=tmp_path / "run")
    assert done.summary("etm")["arguments"]["kl_weight"] == 0.5


def test_topics_require_bags_of_words(example, phrases, tmp_path):
    done = example("topics.py", "--data", phrases, folder=tmp_path / "run", code=2)
    assert "requires bags, got sentences" in done.stderr
    assert "--data docstrings" in done.stderr
