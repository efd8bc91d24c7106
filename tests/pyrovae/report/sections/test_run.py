"""The run in a report: headline numbers and training curves."""

import pytest

from pyrovae.report import sections


def history(**columns):
    return [{"epoch": i + 1, "loss": 5.0 - i} | {name: values[i] for name, values in columns.items()} for i in range(2)]


def test_a_run_without_a_history_has_no_curves():
    assert sections.curves([]) is None


def test_curves_of_training_alone():
    found = sections.curves(history())
    assert found["epochs"] == [1, 2]
    assert found["panels"] == [{"title": "loss", "series": [{"name": "training loss", "values": [5.0, 4.0]}]}]


@pytest.mark.parametrize(("train_elbo", "extra"), [([-5.0, -4.0], []), ([-6.0, -5.0], ["training, −ELBO"])])
def test_curves_of_another_objective_have_the_elbo_beside_it(train_elbo, extra):
    validated = {"elbo": [-4.0, -3.0], "rate": [1.0, 1.5], "distortion": [3.0, 1.5]}
    found = sections.curves(history(train_elbo=train_elbo, **validated))
    assert [panel["title"] for panel in found["panels"]] == ["loss", "rate", "distortion"]
    names = [series["name"] for series in found["panels"][0]["series"]]
    assert names == ["training loss", *extra, "validation, −ELBO"]
