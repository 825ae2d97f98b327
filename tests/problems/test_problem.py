"""What is minimised, over which samples; and that stopping rules leave to the user what is the user's."""

from collections.abc import Sequence
from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dip_lightning import Prior, Problem, UserError
from dip_lightning.callbacks import Detection
from dip_lightning.priors.input import Perturbed
from dip_lightning.problems import DATA_TERMS, Downsample, Identity
from dip_lightning.stopping import HeldOut, StoppingRule, Sure
from tests.small import SIDE, fit, network, picture

Y, X = picture(seed=1), picture(seed=2)
# Three of four samples, not the same in each channel; of each pixel, and all of it.
EACH = (picture(seed=3) < 0.75).float()
WHOLE = EACH[:, :1]


@pytest.mark.parametrize("known", [EACH, WHOLE, WHOLE.bool()])
@pytest.mark.parametrize("name", DATA_TERMS)
def test_the_loss_is_the_mean_of_the_data_term_over_the_known_samples(name: str, known: Tensor) -> None:
    problem = Problem(Y, data_term=DATA_TERMS[name], known=known)
    chosen = known.bool().expand_as(Y)
    expected = DATA_TERMS[name](X, Y)[chosen].mean()
    assert torch.allclose(problem.data_loss(X), expected)
    elsewhere = torch.where(chosen, X, 0.3)
    assert torch.equal(problem.data_loss(elsewhere), problem.data_loss(X))


def test_without_a_mask_all_samples_count() -> None:
    assert torch.allclose(Problem(Y).data_loss(X), (X - Y).square().mean())


@pytest.mark.parametrize("known", [None, EACH, WHOLE])
def test_fidelity_is_the_psnr_to_what_was_measured(known: Tensor | None) -> None:
    chosen = torch.ones_like(Y, dtype=torch.bool) if known is None else known.bool().expand_as(Y)
    expected = -10 * (X - Y)[chosen].square().mean().log10()
    problem = Problem(Y, known=known)
    assert torch.allclose(problem.fidelity(X), expected)
    # Another target and fewer samples that are compared are the rules' business, not that of what was measured.
    prepared = problem.replace(target=Y + 1, used=torch.zeros_like(Y).index_fill(2, torch.tensor([0]), 1))
    assert torch.allclose(prepared.fidelity(X), expected)


def test_a_replaced_problem_keeps_all_that_is_not_replaced() -> None:
    given = {"operator": Downsample(2), "data_term": DATA_TERMS["l1"], "known": EACH, "sigma": 25.0}
    terms = {"mean": lambda x: x.mean()}
    problem = Problem(Y, picture(3, 2 * SIDE, 2 * SIDE), regularizers=terms, **given)  # type: ignore[arg-type]
    target, used = Y + 0.1, EACH * (picture(seed=4) < 0.5)
    first, both = problem.replace(target=target), problem.replace(target=target).replace(used=used)
    for one in (first, both):
        assert one.operator is problem.operator
        assert one.data_term is problem.data_term
        assert one.regularizers == problem.regularizers
        assert (one.sigma, one.shape) == (25.0, (3, 2 * SIDE, 2 * SIDE))
        for name in ("observation", "clean", "known", "known_weight"):
            assert torch.equal(getattr(one, name), getattr(problem, name)), name
    assert torch.allclose(both.data_loss(X), (X - target).abs()[used.bool()].mean())
    assert torch.allclose(first.data_loss(X), (X - target).abs()[EACH.bool()].mean())
    assert problem.target is problem.used is None


def test_a_problem_moves_with_its_module_and_stays_out_of_checkpoints() -> None:
    problem = Problem(Y, X, known=EACH).double()
    assert problem.observation.dtype == problem.known_weight.dtype == torch.float64  # type: ignore[union-attr]
    assert not problem.state_dict()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"clean": picture(3, 8, 8)}, r"clean image of \(3, 8, 8\)"),
        ({"operator": nn.AvgPool2d(2)}, r"maps \(3, 16, 16\) to \(3, 8, 8\).*shape=\(C, H, W\)"),
        ({"shape": (3, 32, 32)}, r"maps \(3, 32, 32\) to \(3, 32, 32\)"),
        ({"known": torch.zeros(1, 1, SIDE, SIDE)}, "0% of them"),
        ({"known": torch.ones(1, 1, 8, 8)}, r"known samples of \(1, 1, 8, 8\)"),
        ({"known": torch.ones(1, 2, SIDE, SIDE)}, r"known samples of \(1, 2, 16, 16\)"),
        ({"known": torch.ones(SIDE, SIDE)}, r"known samples of \(16, 16\)"),
        ({"used": torch.ones(1, 3, SIDE, 8)}, r"known samples of \(1, 3, 16, 8\)"),
        ({"target": picture(3, 8, 8)}, r"target of \(1, 3, 8, 8\)"),
    ],
)
def test_shapes_that_do_not_fit_together_are_told_in_one_line(options: dict[str, object], told: str) -> None:
    with pytest.raises(UserError, match=told) as refused:
        Problem(Y, **options)  # type: ignore[arg-type]
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("wrong", [torch.rand(SIDE, SIDE), torch.rand(3, SIDE, SIDE), torch.rand(2, 3, SIDE, SIDE)])
def test_an_observation_is_one_image(wrong: Tensor) -> None:
    with pytest.raises(UserError, match=r"\(1, C, H, W\)"):
        Problem(wrong)


def test_a_term_that_is_a_module_moves_along() -> None:
    term = nn.L1Loss()
    term.register_buffer("level", torch.ones(()))
    Problem(Y, regularizers={"level": term, "mean": lambda x: x.mean()}).double()  # type: ignore[dict-item]
    assert term.level.dtype == torch.float64


def test_a_known_sample_is_a_number() -> None:
    holes = EACH.clone()
    lost = torch.where(EACH == 0, torch.nan, Y)
    assert torch.isfinite(Problem(lost, known=EACH).observation).all()
    assert torch.equal(Problem(Y, known=EACH).observation, Y)  # what is there is kept
    holes.view(-1)[int(EACH.flatten().nonzero()[0])] = torch.nan
    with pytest.raises(UserError, match="NaN or infinite samples"):
        Problem(torch.where(holes.isnan(), torch.nan, lost), known=EACH)


def test_the_shape_that_was_told_stays() -> None:
    problem = Problem(Y, operator=nn.AvgPool2d(2), shape=(3, 2 * SIDE, 2 * SIDE))
    assert problem.replace(target=Y + 0.1).shape == (3, 2 * SIDE, 2 * SIDE)


def test_what_is_fixed_in_the_image_is_put_into_it_and_does_not_count_in_its_range() -> None:
    fixed = torch.where(WHOLE.expand_as(Y) == 1, torch.nan, 2.0)
    problem = Problem(Y, fixed=fixed).replace(target=Y + 0.1)
    free = WHOLE.bool().expand_as(Y)
    assert torch.equal(problem.complete(X), torch.where(free, X, 2.0))
    assert torch.equal(torch.stack(problem.extremes(problem.complete(X))), torch.stack(X[free].aminmax()))
    plain = Problem(Y)
    assert plain.complete(X) is X
    assert torch.equal(torch.stack(plain.extremes(X)), torch.stack(X.aminmax()))
    with pytest.raises(UserError):
        Problem(Y, fixed=fixed[..., :8])


@pytest.mark.parametrize("name", ["observation", "clean", "target"])
def test_an_image_of_whole_numbers_is_refused(name: str) -> None:
    images = {"observation": Y, name: (255 * Y).byte()}
    with pytest.raises(UserError, match="uint8"):
        Problem(images.pop("observation"), **images)


def test_what_is_held_out_is_taken_from_what_is_used() -> None:
    used = torch.zeros_like(WHOLE).index_fill(2, torch.arange(SIDE // 2), 1)
    fitted = HeldOut(0.25).prepare(Problem(Y, known=torch.ones_like(WHOLE)).replace(used=used))
    assert fitted.used is not None
    assert bool((fitted.used <= used).all())
    assert int((used - fitted.used).sum()) == round(0.25 * int(used.sum()))


def prepared(problem: Problem, rules: Sequence[StoppingRule]) -> Problem:
    for rule in rules:
        problem = rule.prepare(problem)
    return problem


@pytest.mark.parametrize("known", [None, EACH, WHOLE])
def test_the_order_of_rules_does_not_matter(known: Tensor | None) -> None:
    problem = Problem(Y, sigma=25, known=known)
    both = [(HeldOut(0.1), Sure(0.3)), (HeldOut(0.1), Sure(0.3))]
    one, other = prepared(problem, both[0]), prepared(problem, both[1][::-1])
    assert torch.equal(one.data_loss(X), other.data_loss(X))
    assert torch.equal(one.target, other.target)  # type: ignore[arg-type]
    for first, second in zip(*both, strict=True):
        assert torch.equal(first.statistic(None, X), second.statistic(None, X))  # type: ignore[arg-type]
    # The problem itself is as it was, and so is what the user knows of it.
    assert problem.target is problem.used is None
    for name in ("observation", "known", "known_weight"):
        there, before = getattr(one, name), getattr(problem, name)
        assert there is before is None or torch.equal(there, before)


@pytest.mark.parametrize("known", [EACH, WHOLE])
@pytest.mark.parametrize("order", list(permutations(range(2))))
def test_held_out_pixels_are_known_ones(known: Tensor, order: tuple[int, int]) -> None:
    rules = [HeldOut(0.25), Sure()]
    fitted = prepared(Problem(Y, sigma=25, known=known), [rules[place] for place in order])
    assert fitted.used is not None
    held = (known - fitted.used).flatten(2)
    assert set(held.unique().tolist()) == {0, 1}  # nothing that is not known came to it
    pixels = int(held.bool().any(dim=1).sum())
    assert pixels == round(0.25 * int(known.bool().flatten(2).all(dim=1).sum()))
    # A held-out pixel is held out of every channel, and no other is.
    assert bool((held.sum(dim=1)[held.bool().any(dim=1)] == known.shape[1]).all())
    unknown = known.expand_as(Y) == 0
    assert torch.equal(fitted.data_loss(torch.where(unknown, X + 9, X)), fitted.data_loss(X))


@pytest.mark.parametrize("known", [EACH, WHOLE])
def test_the_rules_judge_by_known_samples_only(known: Tensor) -> None:
    problem, elsewhere = Problem(Y, sigma=25, known=known), torch.where(known.bool(), X, X + 9)
    for rule in (HeldOut(0.25), Sure(0.5)):
        rule.prepare(problem)
        judged = rule.statistic(None, X)  # type: ignore[arg-type]
        assert torch.equal(judged, rule.statistic(None, elsewhere))  # type: ignore[arg-type]
    # Against Stein's formula, with the perturbation that was drawn.
    sure = Sure(0.5)
    noise = (sure.prepare(problem).target - Y) / 0.5
    residual = (X - Y)[known.bool().expand_as(Y)]
    taken = noise[known.bool().expand_as(Y)]
    expected = residual.square().mean() + 2 / 0.5 * (taken * residual).mean() - (25 / 255) ** 2
    assert torch.allclose(sure.statistic(None, X), expected, atol=1e-5)  # type: ignore[arg-type]


def test_too_few_known_pixels_cannot_be_held_out() -> None:
    known = torch.zeros(1, 1, SIDE, SIDE)
    known[..., 0, :] = 1
    with pytest.raises(UserError, match=r"16 known pixels.*stopping=wmv"):
        HeldOut().prepare(Problem(Y, known=known))


def test_a_fit_does_not_see_what_is_held_out_of_it() -> None:
    held = HeldOut(0.25).prepare(Problem(Y)).used == 0  # type: ignore[union-attr]

    def fitted(observation: Tensor) -> Tensor:
        rule = Detection({"holdout": HeldOut(0.25)}, min_iterations=0, patience=100)
        return fit(Problem(observation), callbacks=[rule]).iterate.one_pass

    plain = fitted(Y)
    assert torch.equal(fitted(torch.where(held, 1 - Y, Y)), plain)
    assert not torch.equal(fitted(torch.where(held, Y, 1 - Y)), plain)


def test_a_fit_is_compared_with_the_target_of_a_rule() -> None:
    targets: list[Tensor] = []

    class Watched(Sure):
        def prepare(self, problem: Problem) -> Problem:
            prepared = super().prepare(problem)
            targets.append(prepared.target)  # type: ignore[arg-type]
            return prepared

    module = fit(Problem(Y, sigma=25), callbacks=[Detection({"sure": Watched(1.0)}, patience=100)], iterations=1)
    expected = (module.iterate.one_pass - targets[0]).square().mean()
    assert module.curves.block()["loss"][0] == pytest.approx(float(expected), rel=1e-5)


class Shaded(nn.Module):
    """Sees the image through a shade from top to bottom."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shade", torch.linspace(0.2, 1, SIDE)[:, None])

    def forward(self, image: Tensor) -> Tensor:
        return image * self.shade


@pytest.mark.parametrize("name", ["mse", "l1"])
def test_a_step_compares_what_the_operator_sees(name: str) -> None:
    outputs: list[Tensor] = []

    class Watched(Shaded):
        def forward(self, image: Tensor) -> Tensor:
            outputs.append(image.detach())
            return super().forward(image)

    term, known = DATA_TERMS[name], EACH
    problem = Problem(Y, operator=Watched(), data_term=term, known=known)
    outputs.clear()  # that by which the shapes were checked
    module = fit(problem)
    curves = module.curves.block()
    assert len(outputs) == 8
    for iteration, out in enumerate(outputs):
        seen = Shaded()(out)
        assert curves["loss"][iteration] == pytest.approx(float(term(seen, Y)[known.bool()].mean()), rel=1e-5)
        expected = -10 * float((seen - Y)[known.bool()].square().mean().log10())
        assert curves["psnr_observation"][iteration] == pytest.approx(expected, rel=1e-5)
    plain = fit(Problem(Y, data_term=term, known=known))
    assert curves["loss"][0] != plain.curves.block()["loss"][0]
    assert not torch.equal(module.iterate.one_pass, plain.iterate.one_pass)


def test_what_is_fitted_is_the_image_and_not_what_is_seen_of_it() -> None:
    # Smooth, so that a small network comes near it.
    clean = F.interpolate(picture(height=4, width=4), (SIDE, SIDE), mode="bilinear")
    problem = Problem(Shaded()(clean), clean, operator=Shaded())
    module = fit(problem, Prior(network(inside=32), input_channels=4, policy=Perturbed(0)), iterations=400)
    shaded = Shaded()(module.iterate.one_pass)
    assert float((shaded - problem.observation).square().mean()) < 0.5 * float(problem.observation.var())
    # Where next to nothing is seen, the image is as bright as the clean one, and not as what is seen of it.
    assert float(module.iterate.one_pass[..., 0, :].mean()) == pytest.approx(float(clean[..., 0, :].mean()), rel=0.3)


def test_lost_samples_may_be_no_numbers() -> None:
    known = torch.ones(1, 1, 4, 4)
    known[..., 0, 1] = 0
    whole = torch.rand((1, 3, 4, 4), generator=torch.Generator().manual_seed(1))
    lost = torch.where(known == 0, torch.nan, whole)
    prediction = torch.full_like(whole, 0.5)
    one, other = Problem(lost, known=known), Problem(whole, known=known)
    assert float(one.data_loss(prediction)) == float(other.data_loss(prediction))
    assert float(one.fidelity(prediction)) == float(other.fidelity(prediction))


def test_an_observation_with_a_sample_that_is_no_number_needs_a_mask() -> None:
    whole = torch.rand(1, 3, 4, 4)
    whole[0, 0, 1, 2] = torch.nan
    with pytest.raises(UserError, match=r"NaN or infinite samples: .* known="):
        Problem(whole)


def test_samples_that_the_operator_knows_are_the_problems() -> None:
    class Half(Identity):
        def known(self, observation: Tensor) -> Tensor:
            mask = torch.ones_like(observation)
            mask[..., ::2] = 0
            return mask

    problem = Problem(picture(), operator=Half())
    assert problem.known is not None
    assert float(problem.known.mean()) == 0.5
