import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.problems.accidents import recode
from lockstep.problems.schema import load_schema

NAN = float("nan")


def one(function, *values):
    return float(function(*(np.array([v], dtype=float) for v in values))[0])


@pytest.mark.parametrize(
    ("secu", "device"),
    [
        (11, 1),
        (21, 2),
        (31, 3),
        (41, 4),
        (91, 9),
        (12, 0),
        (22, 0),
        (2, 0),
        (13, 8),
        (93, 8),
        (10, 8),
        (1, NAN),
        (NAN, NAN),
    ],
)
def test_two_digits_of_the_old_files_become_one_device(secu, device):
    np.testing.assert_equal(one(recode.safety_device, secu), float(device))


@given(st.integers(0, 99))
def test_every_old_device_is_a_code_of_the_schema_or_missing(secu):
    device = one(recode.safety_device, secu)
    assert np.isnan(device) or device in load_schema("accidents").columns["secu1"].codes


@pytest.mark.parametrize(
    ("catv", "group"),
    [
        (1, 1),
        (80, 1),
        (42, 1),
        (7, 2),
        (3, 2),
        (37, 3),
        (40, 3),
        (14, 4),
        (21, 4),
        (10, 5),
        (8, 5),
        (36, 6),
        (6, 6),
        (0, NAN),
        (99, NAN),
    ],
)
def test_vehicles_fall_into_six_groups(catv, group):
    np.testing.assert_equal(
        one(lambda v: recode.lookup(v, recode.VEHICLE_GROUPS), catv), float(group)
    )


def test_an_unheard_of_code_stays_so_that_the_check_counts_it():
    assert one(lambda v: recode.lookup(v, recode.VEHICLE_GROUPS), 77) == 77
    assert one(lambda v: recode.lookup(v, recode.WEATHER), 12) == 12


def test_severity_is_killed_or_hospitalised():
    grav = np.array([1, 2, 3, 4, -1, 7, NAN])
    np.testing.assert_array_equal(recode.severe(grav), [0, 1, 1, 0, NAN, NAN, NAN])


@pytest.mark.parametrize(
    ("dep", "year", "expected"),
    [
        (590, 2013, 59),
        (10, 2013, 1),
        (201, 2013, 201),
        (202, 2013, 202),
        (971, 2013, 971),
        (200, 2013, 20),
        (59, 2021, 59),
        (971, 2021, 971),
        (201, 2021, 201),
    ],
)
def test_departments_of_both_eras_agree(dep, year, expected):
    assert one(recode.department, dep, year) == expected


@pytest.mark.parametrize(
    ("com", "dep", "year", "expected"),
    [
        (52, 59, 2013, 59052),
        (4, 201, 2013, 201004),
        (16, 974, 2013, 97416),
        (1, 971, 2013, 97101),
        (59052, 59, 2021, 59052),
        (1053, 1, 2021, 1053),
    ],
)
def test_municipalities_of_both_eras_agree(com, dep, year, expected):
    assert one(recode.municipality, com, dep, year) == expected


def test_corsica_and_the_clock_become_digits():
    import pyarrow as pa

    assert recode.corsica_as_digits(pa.array(["2A004", "2b", "75056"])).to_pylist() == [
        "201004",
        "202",
        "75056",
    ]
    times = pa.array(["06:05", "6:05", "17:30:00", "930", "5"])
    assert recode.clock_as_digits(times).to_pylist() == ["0605", "605", "1730", "930", "5"]


@given(st.floats(-60, 60), st.floats(-179, 179))
def test_positions_of_the_new_era_pass_but_for_zeros(lat, long):
    found = [
        float(v[0]) for v in recode.position(*np.array([[lat], [long], [75], [2021]], dtype=float))
    ]
    expected = [NAN, NAN] if lat == 0 or long == 0 else [lat, long]
    np.testing.assert_array_equal(found, expected)


def test_old_positions_are_scaled_and_get_their_lost_signs():
    lat, long = recode.position(
        *np.array([[2093729, 1600000], [5295340, 6100000], [974, 971], [2013, 2013]], dtype=float)
    )
    np.testing.assert_allclose(lat, [-20.93729, 16.0])
    np.testing.assert_allclose(long, [52.9534, -61.0])


def test_pedestrians_have_place_10_and_zero_is_missing():
    np.testing.assert_array_equal(recode.pedestrian(np.array([1.0, 4.0])), [1, 3])
    np.testing.assert_array_equal(
        recode.place_of(np.array([0.0, NAN, 2.0]), np.array([1.0, 3.0, 2.0])), [NAN, 10, 2]
    )
