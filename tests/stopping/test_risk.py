"""The rules that estimate the error: held-out pixels and SURE find the output that is nearest to the clean image."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from dip_lightning.data.noise_model import NoiseModel
from dip_lightning.errors import UserError
from dip_lightning.problems.data_terms import l1
from dip_lightning.stopping import HeldOut, Sure
from tests.stopping.fake import FakeFit

SIGMA = 25


def picture() -> tuple[np.ndarray, np.ndarray]:
    """A smooth clean image and its noisy version, (1, 3, 96, 96)."""
    rng = np.random.default_rng(0)
    clean = gaussian_filter(rng.random((1, 3, 96, 96)), (0, 0, 4, 4))
    clean = (clean - clean.min()) / np.ptp(clean)
    return clean, clean + rng.normal(0, SIGMA / 255, clean.shape)


def smoothed(target: np.ndarray, width: float) -> np.ndarray:
    return gaussian_filter(target, (0, 0, width, width), mode="reflect")


WIDTHS = np.linspace(0.4, 6, 57)


def test_the_held_out_error_is_the_error_plus_a_constant() -> None:
    clean, noisy = picture()
    fit = FakeFit(noisy)
    rule = HeldOut(fraction=0.3)
    weight = fit.prepare(rule).weight
    assert weight is not None
    held = weight[0, 0].numpy() == 0

    # As a fit would, each output predicts the held-out pixels from the others.
    def predict(width: float) -> np.ndarray:
        keep = np.broadcast_to(~held, noisy.shape).astype(float)
        return smoothed(noisy * keep, width) / smoothed(keep, width)

    outputs = [predict(width) for width in WIDTHS]
    judged = [float(fit.judge(rule, output) or 0) for output in outputs]
    errors = [float(np.square(output - clean)[..., held].mean()) for output in outputs]
    assert abs(int(np.argmin(judged)) - int(np.argmin(errors))) <= 2
    constant = float(np.square(noisy - clean)[..., held].mean())
    assert np.allclose(np.array(judged) - constant, errors, atol=6e-4)


def test_held_out_pixels_do_not_count_in_the_data_term() -> None:
    _, noisy = picture()
    fit = FakeFit(noisy)
    weight = fit.prepare(HeldOut(fraction=0.25, seed=3)).weight
    assert weight is not None
    assert weight.shape == (1, 1, 96, 96)
    assert int((weight == 0).sum()) == 96 * 96 // 4
    assert float(weight.mean()) == pytest.approx(1)
    again, other = (FakeFit(noisy).prepare(HeldOut(fraction=0.25, seed=seed)).weight for seed in (3, 4))
    assert again is not None
    assert other is not None
    assert torch.equal(weight, again)
    assert not torch.equal(weight, other)


def test_held_out_pixels_are_judged_by_the_data_term_of_the_fit() -> None:
    _, noisy = picture()
    values = []
    for fit in (FakeFit(noisy), FakeFit(noisy, data_term=l1)):
        rule = HeldOut()
        fit.prepare(rule)
        values.append(float(fit.judge(rule, fit.observation + 0.5) or 0))
    assert values == pytest.approx([0.25, 0.5])


def test_of_a_small_picture_at_least_sixteen_pixels_are_held_out() -> None:
    fit = FakeFit(np.zeros((1, 1, 8, 8)))
    weight = fit.prepare(HeldOut(0.02)).weight
    assert weight is not None
    assert int((weight == 0).sum()) == 16
    with pytest.raises(UserError, match=r"on 25 known pixels: expected at least 32; try stopping=wmv"):
        FakeFit(np.zeros((1, 1, 5, 5))).prepare(HeldOut(0.02))


def test_half_of_the_pixels_can_be_held_out_and_no_more() -> None:
    weight = FakeFit(np.zeros((1, 1, 8, 8))).prepare(HeldOut(0.5)).weight
    assert weight is not None
    assert int((weight == 0).sum()) == 32
    assert int((FakeFit(np.zeros((1, 1, 4, 8))).prepare(HeldOut()).weight == 0).sum()) == 16  # type: ignore[union-attr]


def test_the_seed_decides_the_perturbation() -> None:
    targets = [FakeFit(np.zeros((1, 1, 16, 16)), SIGMA).prepare(Sure(seed=seed)).target for seed in (3, 3, 4)]
    assert torch.equal(targets[0], targets[1])  # type: ignore[arg-type]
    assert not torch.equal(targets[0], targets[2])  # type: ignore[arg-type]


def test_of_a_large_picture_no_more_than_four_thousand_pixels_are_held_out() -> None:
    for side, count in ((100, 500), (300, 4000)):
        weight = FakeFit(np.zeros((1, 1, side, side))).prepare(HeldOut()).weight
        assert weight is not None
        assert int((weight == 0).sum()) == count


@pytest.mark.parametrize(("side", "alpha"), [(64, 0.2), (128, 0.2), (256, 0.1)])
def test_the_perturbation_falls_with_the_side_of_a_large_picture(side: int, alpha: float) -> None:
    fit = FakeFit(np.full((1, 3, side, side), 0.5), SIGMA)
    target = fit.prepare(Sure()).target
    assert target is not None
    # 12,288 samples at least: the standard error of the deviation is 0.7 %.
    assert float((target - fit.observation).std()) == pytest.approx(alpha * SIGMA / 255, rel=0.02)


@pytest.mark.parametrize("alpha", [0.1, 0.5])
def test_sure_is_the_error_without_bias(alpha: float) -> None:
    clean, noisy = picture()
    difference = []
    for seed in range(6):
        fit = FakeFit(noisy, SIGMA)
        rule = Sure(alpha, seed)
        target = fit.prepare(rule).target
        assert target is not None
        seen = target.numpy()
        outputs = [smoothed(seen, width) for width in WIDTHS]
        judged = [float(fit.judge(rule, output) or 0) for output in outputs]
        errors = [float(np.square(output - clean).mean()) for output in outputs]
        difference.append(np.array(judged) - errors)
        assert abs(WIDTHS[np.argmin(judged)] - WIDTHS[np.argmin(errors)]) < 0.5
    # The spread of the mean over the seeds, and of the noise of this one picture.
    assert np.abs(np.mean(difference, axis=0)).max() < 4e-4 / alpha


def test_sure_perturbs_what_is_fitted_in_proportion_to_the_noise() -> None:
    _, noisy = picture()
    fit = FakeFit(noisy, SIGMA)
    target = fit.prepare(Sure(alpha=0.5)).target
    assert target is not None
    assert float((target - fit.observation).std()) == pytest.approx(0.5 * SIGMA / 255, rel=0.02)


def test_sure_cannot_judge_a_picture_without_noise_from_pixel_to_pixel() -> None:
    with pytest.raises(UserError, match=r"stopping=sure .*σ = 0\.3.*stopping=holdout"):
        FakeFit(np.zeros((1, 1, 16, 16)), 0.3).prepare(Sure())
    FakeFit(np.zeros((1, 1, 16, 16)), 1.0).prepare(Sure())


def test_held_out_pixels_need_no_strength_of_the_noise() -> None:
    # Of sparse noise a robust estimate says that there is none; of a picture without noise nothing is overfitted.
    clean, _ = picture()
    fit = FakeFit(clean, sigma=0.0)
    rule = HeldOut(fraction=0.3)
    weight = fit.prepare(rule).weight
    assert weight is not None
    held = weight[0, 0].numpy() == 0
    keep = np.broadcast_to(~held, clean.shape).astype(float)
    for width in WIDTHS:
        output = smoothed(clean * keep, width) / smoothed(keep, width)
        error = float(np.square(output - clean)[..., held].mean())
        assert float(fit.judge(rule, output) or 0) == pytest.approx(error, rel=1e-4)


def test_sure_does_not_judge_a_fit_that_minimises_something_else() -> None:
    fit = FakeFit(np.zeros((1, 1, 8, 8)), SIGMA, l1)
    with pytest.raises(UserError, match="try stopping=holdout"):
        fit.prepare(Sure())


def test_sure_needs_the_strength_of_the_noise() -> None:
    with pytest.raises(UserError, match=r"image\.sigma"):
        FakeFit(np.zeros((1, 1, 8, 8))).prepare(Sure())


def shared_noise(reach: int = 2, level: float = SIGMA, channels: int = 3) -> NoiseModel:
    """Noise that is white noise blurred, and that the colours share in part."""
    profile = np.exp(-(np.arange(-4, 5) ** 2) / 4)
    profile[np.abs(np.arange(-4, 5)) > reach] = 0
    colors = np.full((channels, channels), 0.4) + 0.6 * np.eye(channels)
    return NoiseModel((level,) * channels, (level / 255) ** 2, 0, np.outer(profile, profile), colors, "given")


def test_of_noise_that_neighbours_share_blocks_are_held_out_and_their_inner_parts_judged() -> None:
    noise = shared_noise()
    assert noise.reach == 2
    fit = FakeFit(np.zeros((1, 3, 96, 120)), noise=noise)
    rule = HeldOut(fraction=0.2, seed=5)
    weight = fit.prepare(rule).weight
    assert weight is not None
    held = (weight[0, 0] == 0).numpy()
    assert 0.12 < held.mean() < 0.25
    judged = np.zeros(held.size, bool)
    judged[rule._held.numpy()] = True
    judged = judged.reshape(held.shape)
    # 4x4 of 8x8 pixels, and all that lies within reach of them is held out, too.
    assert judged.sum() * 4 == held.sum()
    rows, columns = np.nonzero(judged)
    for down in range(-2, 3):
        for across in range(-2, 3):
            assert held[rows + down, columns + across].all()


def test_too_few_blocks_and_blocks_with_lost_pixels_are_not_held_out() -> None:
    with pytest.raises(UserError, match=r"4 blocks of 8x8 known pixels, whose noise neighbours share"):
        FakeFit(np.zeros((1, 3, 16, 16)), noise=shared_noise()).prepare(HeldOut())
    with pytest.raises(UserError, match="on 0 blocks"):
        FakeFit(np.zeros((1, 3, 6, 60)), noise=shared_noise()).prepare(HeldOut())
    fit = FakeFit(np.zeros((1, 3, 96, 96)), noise=shared_noise())
    known = torch.ones(1, 1, 96, 96)
    known[..., :48] = 0
    fit.problem = fit.problem.replace(used=known)
    rule = HeldOut(fraction=0.3)
    fit.prepare(rule)
    assert (rule._held % 96 >= 48).all()


def test_the_held_out_error_of_blocks_finds_the_peak_of_shared_noise_where_pixels_do_not() -> None:
    clean, _ = picture()
    noise = shared_noise(level=3 * SIGMA)
    noisy = clean + noise.draw((1, 3, 96, 96), torch.Generator().manual_seed(1)).numpy()

    def excess(model: NoiseModel | None) -> float:
        """How many times the least error the output has that is chosen."""
        fit, rule = FakeFit(noisy, noise=model), HeldOut(fraction=0.2)
        weight = fit.prepare(rule).weight
        assert weight is not None
        keep = np.broadcast_to(weight.numpy() != 0, noisy.shape).astype(float)
        outputs = [smoothed(noisy * keep, width) / smoothed(keep, width) for width in WIDTHS[20:]]
        judged = [float(fit.judge(rule, output) or 0) for output in outputs]
        errors = [float(np.square(output - clean).mean()) for output in outputs]
        return errors[int(np.argmin(judged))] / min(errors)

    assert excess(noise) < 1.1
    assert excess(None) > 1.3


def test_sure_is_right_for_shared_noise_when_its_perturbation_is_shared_alike() -> None:
    clean, _ = picture()
    noise = shared_noise()
    noisy = clean + noise.draw((1, 3, 96, 96), torch.Generator().manual_seed(1)).numpy()
    apart = []
    for model in (noise, None):
        fit, rule = FakeFit(noisy, sigma=SIGMA, noise=model), Sure(alpha=1)
        target = fit.prepare(rule).target
        assert target is not None
        outputs = [smoothed(target.numpy(), width) for width in WIDTHS[3:]]
        judged = np.array([float(fit.judge(rule, output) or 0) for output in outputs])
        errors = np.array([float(np.square(output - clean).mean()) for output in outputs])
        apart.append(float(np.ptp(judged - errors)))  # a constant moves no minimum
    assert apart[0] < 0.15 * (SIGMA / 255) ** 2
    assert apart[1] > 0.3 * (SIGMA / 255) ** 2


@pytest.mark.parametrize(("told", "refuted"), [(SIGMA, False), (2 * SIGMA, True)])
def test_sure_is_refuted_by_a_fit_that_leaves_far_less_than_the_noise(told: float, refuted: bool) -> None:
    _, noisy = picture()
    fit, rule = FakeFit(noisy, told), Sure()
    target = fit.prepare(rule).target
    assert target is not None
    assert not bool(rule.is_refuted())  # before it has seen anything
    # From what is far too smooth to next to nothing left of the noise, as a fit goes.
    for width in sorted(WIDTHS, reverse=True):
        fit.judge(rule, smoothed(target.numpy(), width))
    assert bool(rule.is_refuted()) is refuted
