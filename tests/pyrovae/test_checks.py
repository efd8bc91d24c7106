"""Checks of settings: what has a meaning passes as a plain number; anything else is refused with the rule it breaks."""

import math

import numpy as np
import pytest
import torch

from pyrovae.checks import (
    BYTES,
    COUNTS,
    check_choice,
    check_count,
    check_counts,
    check_equally_many,
    check_fraction,
    check_name,
    check_names,
    check_number,
    check_numbers,
    check_positive,
    check_seed,
    check_several,
    check_tensor,
)
from pyrovae.errors import DataError, PyrovaeError, SettingError, ShapeError

NO_NUMBERS = [
    None,
    "3",
    b"3",
    [3],
    {},
    torch.ones(2),
    np.ones(2),
    True,
    False,
    np.True_,
    torch.tensor(True),
    1j,
    object(),
]
NO_REALS = [*NO_NUMBERS, math.nan, math.inf, -math.inf, np.float32("nan"), torch.tensor(math.inf), 10**400]


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3), torch.tensor(3), np.array(3)])
def test_whole_numbers_of_every_kind_become_ints(value):
    assert type(check_count("n", value)) is int
    assert check_count("n", value) == 3


@pytest.mark.parametrize("value", [*NO_NUMBERS, 3.0, 1.5, math.nan, np.float64(3), torch.tensor(3.0), 0, -1, 11])
def test_a_count_without_a_meaning_is_refused(value):
    with pytest.raises(SettingError, match=r"^num_steps requires a whole number from 1 to 10, got "):
        check_count("num_steps", value, most=10)


def test_an_error_names_the_argument_the_rule_the_value_and_what_to_write():
    with pytest.raises(SettingError) as error:
        check_count("num_samples", -1)
    assert str(error.value) == "num_samples requires a whole number of at least 1, got -1."
    with pytest.raises(ValueError, match=r"epochs requires a whole number .*got 1\.5\. Write epochs=20\.$"):
        check_count("epochs", 1.5, 0, write=20)
    assert issubclass(SettingError, PyrovaeError)


def test_a_long_value_is_shown_short():
    with pytest.raises(SettingError) as error:
        check_count("num_samples", torch.zeros(50, 50))
    assert len(str(error.value)) < 160
    assert "\n" not in str(error.value)


def test_a_count_that_no_run_reaches_is_a_slip():
    assert check_count("n", COUNTS) == 2**31 - 1
    for value in (2**31, 2**63, 10**30):
        with pytest.raises(SettingError, match=r"^n requires a whole number from 1 to 2147483647, got "):
            check_count("n", value)
    assert check_count("memory", 2**40, 0, BYTES) == 2**40


def test_a_name_is_text():
    assert check_name("site", "z") == "z"
    for value in (None, 3, [], b"z", ("z",), ""):
        with pytest.raises(SettingError, match=r"^site requires a name, as text, got "):
            check_name("site", value)


def test_names_are_a_list_of_text():
    assert check_names("sites", ()) == []
    assert check_names("sites", ("z", "y")) == ["z", "y"]
    for values in ("z", None, 3, len, [3], [None]):
        with pytest.raises(SettingError, match=r"^sites requires a (list of names|name, as text), got "):
            check_names("sites", values)


def test_several_are_a_list_of_at_least_one():
    assert check_several("factors", ("a", "b")) == ["a", "b"]
    assert check_several("strengths", np.array([1.0, 2.0])) == [1, 2]
    for values in ((), [], "ab", b"ab", 3, None):
        with pytest.raises(SettingError, match=r"^factors requires a list of at least one value, got "):
            check_several("factors", values)


def test_a_tensor_of_real_numbers():
    x = torch.randn(3, 2)
    assert check_tensor("x", x, "(N, D)", dims=2, rows=3, finite=True) is x
    assert torch.equal(check_tensor("x", x.numpy(), "(N, D)"), x)
    for value in (None, "a", [1.0], x.to(torch.complex64), x.to_sparse(), np.array(["a"]), np.zeros(2, complex)):
        with pytest.raises(DataError, match=r"^x requires a tensor of real numbers \(N, D\), got "):
            check_tensor("x", value, "(N, D)")
    for value, rules in (
        (x, {"dims": 3}),
        (x[0], {"least_dims": 2}),
        (x, {"rows": 4}),
        (x[:0], {"rows": 1}),
        (x[0, 0], {"rows": 1}),
    ):
        with pytest.raises(ShapeError, match=r"^x requires a tensor \(N, D\).*, got \("):
            check_tensor("x", value, "(N, D)", **rules)
    for broken in (math.nan, math.inf):
        with pytest.raises(DataError, match=r"^x requires finite numbers, got 6 NaN or infinite ones of 6"):
            check_tensor("x", torch.full((3, 2), broken), "(N, D)", finite=True)


def test_counts_are_a_sequence_of_them():
    assert check_counts("sizes", [np.int64(3), 4]) == (3, 4)
    assert check_counts("sizes", (), fewest=0) == ()
    with pytest.raises(SettingError, match=r"^sizes requires whole numbers of at least 1, got 3"):
        check_counts("sizes", 3, fewest=0)
    for values in ([], 3, None, "34", [3, 0], [3, 1.5]):
        with pytest.raises(SettingError, match=r"^sizes requires whole numbers of at least 1, got "):
            check_counts("sizes", values)


def test_a_seed_fits_every_generator():
    for seed in (0, 1, 2**32 - 1, np.int64(5)):
        torch.manual_seed(check_seed("seed", seed))
        np.random.RandomState(check_seed("seed", seed))


@pytest.mark.parametrize("value", [*NO_NUMBERS, -1, 2**32, 1_764_366_114_000_000_000, 0.0])
def test_a_seed_that_some_generator_refuses_is_refused(value):
    with pytest.raises(SettingError, match=r"^seed requires a whole number from 0 to 2\*\*32 - 1, got "):
        check_seed("seed", value)


def test_a_seed_of_the_clock_gets_a_line_that_works():
    with pytest.raises(SettingError, match=r"Write seed=1764366114000000000 % 2\*\*32\.$"):
        check_seed("seed", 1_764_366_114_000_000_000)


@pytest.mark.parametrize("value", [0.5, np.float32(0.5), torch.tensor(0.5), np.array(0.5)])
def test_real_numbers_of_every_kind_become_floats(value):
    for check in (check_number, check_positive, check_fraction):
        assert type(check("rate", value)) is float
        assert check("rate", value) == 0.5


@pytest.mark.parametrize("value", NO_REALS)
def test_what_is_no_finite_number_is_refused(value):
    for check in (check_number, check_positive, check_fraction):
        with pytest.raises(SettingError, match=r"^rate requires a .*number.*, got "):
            check("rate", value)


def test_ranges_hold_at_their_ends():
    assert check_fraction("f", 0) == 0
    assert check_fraction("f", 1) == 1
    assert check_fraction("f", 0, one=False) == 0
    assert check_number("x", -2, low=-2, high=3) == -2
    assert check_number("x", 3, low=-2, high=3) == 3
    assert check_positive("lr", 5e-324) > 0
    for check in (
        lambda: check_fraction("f", 1.0000001),
        lambda: check_fraction("f", -1e-9),
        lambda: check_fraction("f", 0, ends=False),
        lambda: check_fraction("f", 1, ends=False),
        lambda: check_fraction("f", 1, one=False),
        lambda: check_positive("f", 0),
        lambda: check_positive("f", -1),
    ):
        with pytest.raises(SettingError, match=r"^f requires"):
            check()
    with pytest.raises(SettingError, match=r"^x requires a finite number from -2 to 3, got 3\.1\. Write x=0\.$"):
        check_number("x", 3.1, -2, 3, write=0)
    with pytest.raises(SettingError, match=r"^x requires a finite number of at least 0, got -1"):
        check_number("x", -1, low=0)
    with pytest.raises(SettingError, match=r"^x requires a finite number of at most 0, got 1"):
        check_number("x", 1, high=0)


def test_a_choice_is_one_of_a_few():
    assert check_choice("mode", "a", ("a", "b")) == "a"
    for value in ("c", None, 1, ["a"], np.ones(2), torch.ones(2)):
        with pytest.raises(SettingError, match=r"^mode requires 'a' or 'b', got .*Write mode='a'\.$"):
            check_choice("mode", value, ("a", "b"))


def test_numbers_for_a_picture_are_on_the_cpu_and_have_no_gradient():
    numbers = check_numbers("images", torch.ones(2, 3, requires_grad=True) * 2)
    assert not numbers.requires_grad
    assert numbers.tolist() == [[2.0] * 3] * 2
    assert check_numbers("images", np.ones(2)).dtype == torch.float64
    for value in (None, "x", [1.0], torch.ones(2, dtype=torch.complex64), torch.ones(2).to_sparse()):
        with pytest.raises(DataError, match=r"^images requires a tensor of real numbers"):
            check_numbers("images", value)


def test_equally_many_values():
    assert check_equally_many("rows", ["a", "b"], 2, "rows of values") == ["a", "b"]
    for value, got in ((["a"], "1"), ("ab", "2"), ({"a": 1, "b": 2}, "2"), (3, "a int")):
        with pytest.raises(ShapeError, match=rf"^rows requires 2, one for each of the rows of values, got {got}\.$"):
            check_equally_many("rows", value, 2, "rows of values")
