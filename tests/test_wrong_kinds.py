"""What is handed over from Python is checked where it is handed over, in one line."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from dip_lightning import DeepImagePrior, Prior, Problem, UserError, restore, select
from dip_lightning.callbacks import Detection
from tests.small import fit, network, picture

GREY = np.zeros((40, 40), np.uint8)
Y = picture()


def prior() -> Prior:
    return Prior(network(), input_channels=4)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (lambda: Problem(np.zeros((1, 3, 16, 16))), "observation of type ndarray: .*torch.from_numpy"),
        (lambda: Problem((Y * 255).byte()), "observation of uint8 samples: .*255"),
        (lambda: Problem(Y, np.ones((1, 3, 16, 16))), "clean of type ndarray"),
        (lambda: Problem(Y, known=np.ones((1, 1, 16, 16))), "known of type ndarray"),
        (lambda: Problem(Y, known=torch.full((1, 1, 16, 16), 0.5)), "other values than 0 and 1"),
        (lambda: Problem(Y, sigma="25"), "sigma=25: expected a number"),
        (lambda: Problem(Y, sigma=-1), "sigma=-1"),
        (lambda: Problem(Y, operator="blur"), "operator of type str"),
        (lambda: Problem(Y, data_term="mse"), "data_term of type str"),
        (lambda: Problem(Y, regularizers=[torch.mean]), "regularizers of type list"),
        (lambda: Problem(Y, regularizers={"tv": 3}), r"regularizers\['tv'\] of type int"),
        (lambda: Prior("unet"), "network of type str"),
        (lambda: Prior(network(), draw=3), "draw of type int"),
        (lambda: Prior(network(), policy=3), "policy of type int: expected InputPolicy"),
        (lambda: Prior(network(), fitted=3), "fitted of type int"),
        (lambda: Prior(network(), input_channels="4"), "input_channels=4"),
        (lambda: DeepImagePrior(network(), Problem(Y)), "prior of type Sequential"),
        (lambda: DeepImagePrior(prior(), Y), "problem of type Tensor"),
        (lambda: DeepImagePrior(prior(), Problem(Y), optimizer="adam"), "optimizer of type str"),
        (lambda: DeepImagePrior(prior(), Problem(Y), seed="a"), "seed=a"),
        (lambda: select(DeepImagePrior(prior(), Problem(Y))), "call trainer.fit first"),
        (lambda: Detection([]), "stopping.rules of type list"),
        (lambda: restore(GREY, model=nn.Conv2d(4, 1, 1), iterations=2), "a z of 32 channels .*input_channels"),
        (lambda: restore(GREY, callbacks=[1]), "callbacks of type list: expected Lightning callbacks"),
        (
            lambda: restore(GREY, seed=len),
            "seed of type builtin_function_or_method: expected an object only for",
        ),
        (lambda: restore(GREY, dropout=[len]), "dropout of type list: expected an object only for"),
        (lambda: restore(GREY, optimizer=lambda p: 1, iterations=2), "makes an object of type int"),
        (lambda: restore(GREY, optimizer=lambda: 1), "optimizer of type function: expected a function that makes one"),
        (lambda: restore(GREY, data_term=lambda: 1), "data_term of type function: expected a data term"),
        (lambda: restore(GREY, trust=1), "trust=1: expected names of packages"),
        (lambda: restore(GREY, run_folder=len), "run_folder of type builtin_function_or_method: expected a folder"),
        (lambda: restore(GREY, overrides=[len]), "expected a list of words"),
        (lambda: restore(GREY, overrides="lr=1"), "overrides='lr=1': expected a list"),
    ],
)
def test_an_object_of_another_kind_is_told_in_one_line(wrong: Callable[[], object], told: str) -> None:
    with pytest.raises(UserError, match=told) as refused:
        wrong()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("term", [lambda image: image, lambda image: 0.5])
def test_a_term_must_be_one_number(term: Callable[[torch.Tensor], object]) -> None:
    with pytest.raises(UserError, match=r"the term mine that gives .*take its mean"):
        fit(Problem(Y, regularizers={"mine": term}), iterations=1)  # type: ignore[dict-item]
