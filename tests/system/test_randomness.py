"""Random numbers belong to a fit: apart by purpose, alike in every precision, and nobody else's."""

import copy
import math
import threading
import time
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from dip_lightning import restore
from dip_lightning.models.layers import ChannelDropout, Dropout
from dip_lightning.priors.input import Perturbed
from dip_lightning.stopping.sure import Sure
from dip_lightning.system.randomness import Randomness, derived_seed, drawn_with, global_numbers_kept, seed_all_else
from tests.conftest import TINY_UNET
from tests.small import picture

CPU = torch.device("cpu")
GREY = np.random.default_rng(0).integers(60, 200, (32, 32), dtype=np.uint8)
SETTINGS = [*TINY_UNET, "image.crop=null", "stopping=none", "callbacks.peak_psnr.eval_every=0"]


def restored(**options: Any) -> NDArray[np.generic]:
    return restore(GREY, iterations=12, overrides=SETTINGS, **options).image


def correlation(one: Tensor, other: Tensor) -> float:
    count = min(one.numel(), other.numel())
    return float(torch.corrcoef(torch.stack([one.flatten()[:count], other.flatten()[:count]]).double())[0, 1])


def test_what_is_drawn_for_two_purposes_is_independent() -> None:
    random = Randomness(0)
    z = torch.rand(4096, generator=random.generator("z", CPU))
    with drawn_with(0, "weights"):
        weights = torch.nn.Linear(64, 64).weight.detach()
    noise = torch.empty(4096).normal_(generator=random.generator("input noise", CPU))
    # Normal numbers of the same seed are made of pairs of the uniform ones (Box & Muller).
    first, second = z[:2048], z[2048:]
    pairs = (-2 * torch.log1p(-first)).sqrt() * torch.cos(2 * math.pi * second)
    limit = 5 / math.sqrt(2048)
    for one, other in ((z, weights), (z, noise), (weights, noise), (pairs, noise)):
        assert abs(correlation(one, other)) < limit
    # The same kind with the same seed would not have passed.
    bare = torch.rand(4096, generator=torch.Generator().manual_seed(0))
    assert correlation(bare, torch.rand(4096, generator=torch.Generator().manual_seed(0))) > 0.99


def test_the_first_weights_are_independent_of_z_and_of_sures_perturbation(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, Tensor] = {}
    prepare = Sure.prepare

    def watched(rule: Sure, problem: Any) -> Any:
        prepared = prepare(rule, problem)
        seen["perturbation"] = rule._noise.clone()
        return prepared

    monkeypatch.setattr(Sure, "prepare", watched)
    from dip_lightning.module import DeepImagePrior

    start = DeepImagePrior.on_fit_start

    def noted(module: DeepImagePrior) -> None:
        start(module)
        seen["z"] = module.prior.z.clone()
        seen["weights"] = next(iter(module.prior.network.parameters())).detach().clone()

    monkeypatch.setattr(DeepImagePrior, "on_fit_start", noted)
    restore(GREY, iterations=1, overrides=[*TINY_UNET, "image.crop=null", "image.sigma=20", "stopping=sure"])
    for one, other in (("z", "weights"), ("z", "perturbation"), ("weights", "perturbation")):
        count = min(seen[one].numel(), seen[other].numel())
        assert abs(correlation(seen[one], seen[other])) < 5 / math.sqrt(count), (one, other)


def test_streams_go_on_where_they_were() -> None:
    random = Randomness(3)
    torch.rand(7, generator=random.generator("dropout", CPU))
    state = random.state_dict()
    after = torch.rand(5, generator=random.generator("dropout", CPU))
    other = Randomness(3)
    other.load_state_dict(state)
    twin = copy.deepcopy(other)
    assert torch.equal(torch.rand(5, generator=other.generator("dropout", CPU)), after)
    # A copy draws alike, and takes nothing from the original.
    assert torch.equal(torch.rand(5, generator=twin.generator("dropout", CPU)), after)


def test_other_seeds_and_purposes_give_other_seeds() -> None:
    found = {derived_seed(seed, purpose) for seed in range(100) for purpose in ("z", "weights", "dropout")}
    assert len(found) == 300
    assert all(0 <= seed < 2**63 for seed in found)


def test_two_precisions_see_the_same_noise() -> None:
    policy, z = Perturbed(0.1), picture(4, 16, 16)
    policy.random = Randomness(0)
    single = policy(z, 0, None) - z
    policy.random = Randomness(0)
    double = policy(z.double(), 0, None) - z.double()
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, atol=1e-6)


@pytest.mark.parametrize("kind", [Dropout, ChannelDropout])
def test_dropout_draws_from_its_fit(kind: type[Dropout]) -> None:
    layer, x = kind(0.5), torch.ones(1, 64, 4, 4)
    layer.random = Randomness(0)
    before = torch.get_rng_state()
    once = layer(x)
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(layer(x), once)
    layer.random = Randomness(0)
    assert torch.equal(layer(x), once)
    assert set(once.unique().tolist()) == {0.0, 2.0}
    assert 0.25 < float((once == 0).float().mean()) < 0.75


def test_fits_in_threads_give_what_they_give_alone() -> None:
    alone = {seed: restored(seed=seed, dropout=0.2) for seed in range(3)}
    found: dict[int, NDArray[np.generic]] = {}
    before = torch.get_rng_state()

    def one(seed: int) -> None:
        found[seed] = restored(seed=seed, dropout=0.2)

    threads = [threading.Thread(target=one, args=(seed,)) for seed in alone]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(torch.get_rng_state(), before)
    for seed, expected in alone.items():
        assert np.array_equal(found[seed], expected), seed
    assert not np.array_equal(alone[0], alone[1])


def test_a_fit_neither_disturbs_nor_is_disturbed_by_what_another_thread_draws() -> None:
    alone, found = restored(seed=1), []
    torch.manual_seed(3)
    expected = torch.rand(20000)
    torch.manual_seed(3)
    thread = threading.Thread(target=lambda: found.append(restored(seed=1)))
    thread.start()
    drawn = []
    while thread.is_alive():
        drawn.append(torch.rand(1))
        time.sleep(0.0005)
    thread.join()
    assert len(drawn) > 10
    # Lightning itself puts the numbers back once, around the validation that a fit has none of: what is drawn in that
    # moment is drawn twice.
    numbers = torch.cat(drawn)
    kept = torch.cat([numbers[:1], numbers[1:][numbers[1:] != numbers[:-1]]])
    assert len(kept) >= len(numbers) - 1
    assert torch.equal(kept, expected[: len(kept)])
    assert np.array_equal(found[0], alone)


def test_numbers_that_no_fit_has_touched_are_not_put_back() -> None:
    torch.manual_seed(3)
    with global_numbers_kept():
        drawn = torch.rand(2)
    assert not torch.equal(torch.rand(2), drawn)


def test_first_weights_are_those_of_the_seed_whatever_draws_them() -> None:
    torch.manual_seed(derived_seed(5, "weights"))
    expected = [torch.nn.Conv2d(3, 4, 3).weight.detach(), torch.randn(7), torch.rand(3)]
    torch.manual_seed(11)
    state = torch.get_rng_state()
    with drawn_with(5, "weights"):
        drawn = [torch.nn.Conv2d(3, 4, 3).weight.detach(), torch.randn(7), torch.rand_like(torch.zeros(3))]
    assert all(torch.equal(one, other) for one, other in zip(drawn, expected, strict=True))
    assert torch.equal(torch.get_rng_state(), state)


def test_the_last_of_those_that_run_at_a_time_puts_the_numbers_back() -> None:
    before = torch.get_rng_state()
    first, second = global_numbers_kept(), global_numbers_kept()
    first.__enter__()
    seed_all_else(1)
    second.__enter__()
    first.__exit__(None, None, None)
    torch.rand(3)
    assert not torch.equal(torch.get_rng_state(), before)
    second.__exit__(None, None, None)
    assert torch.equal(torch.get_rng_state(), before)
