import numpy as np

from dip_lightning.runs.peaks import find_peak


def test_the_peak_and_its_plateaus_are_counted() -> None:
    curve = np.array([20.0, 29.4, 29.6, 29.95, 30.0, 29.9, 29.45, 28.0])
    peak = find_peak(curve)
    assert peak is not None
    assert (peak.psnr, peak.iteration, peak.final_psnr) == (30.0, 4, 28.0)
    assert peak.plateau_01db == 3  # 29.95, 30.0, 29.9
    assert peak.plateau_05db == 4  # and 29.6


def test_the_plateaus_end_at_a_tenth_and_at_half_a_decibel() -> None:
    peak = find_peak(np.array([29.45, 29.51, 29.89, 29.91, 30.0, 29.91, 29.89, 29.51, 29.45]))
    assert peak is not None
    assert (peak.plateau_01db, peak.plateau_05db) == (3, 7)


def test_what_is_not_finite_is_passed_over() -> None:
    peak = find_peak(np.array([np.nan, 10.0, np.inf, 12.0, -np.inf, np.nan]))
    assert peak is not None
    assert (peak.psnr, peak.iteration, peak.final_psnr) == (12.0, 3, 12.0)


def test_the_first_of_equal_peaks_counts() -> None:
    peak = find_peak(np.array([1.0, 5.0, 5.0]))
    assert peak is not None
    assert peak.iteration == 1


def test_a_curve_without_a_value_has_no_peak() -> None:
    assert find_peak(np.array([np.nan, np.nan])) is None
