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


@pytest.mark.parametrize("trained", [{}, {"train_rate": [2.0, 2.5], "train_distortion": [2.0, 1.0]}])
def test_rate_and_distortion_of_training_data_are_beside_those_of_the_validation(trained):
    validated = {"elbo": [-4.0, -3.0], "rate": [1.0, 1.5], "distortion": [3.0, 1.5]}
    _, *parts = sections.curves(history(**validated, **trained))["panels"]
    for panel, name in zip(parts, ("rate", "distortion"), strict=True):
        expected = {f"training {name}, some data": trained.get(f"train_{name}"), f"validation {name}": validated[name]}
        found = {series["name"]: series["values"] for series in panel["series"]}
        assert found == {title: values for title, values in expected.items() if values}
