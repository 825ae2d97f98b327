"""The forward operators are what they say: against their adjoints, Pillow, SciPy and the pattern itself."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import convolve
from torch import Tensor

from dip_lightning.errors import UserError
from dip_lightning.problems import Blur, Downsample, Inpaint, Mosaic, Operator, SuperResolution

OPERATORS: dict[str, tuple[Operator, tuple[int, int, int]]] = {
    "downsample": (Downsample(3), (2, 12, 15)),
    **{
        f"super-resolution {factor} {name}": (SuperResolution(factor, name), (3, 6 * factor, 5 * factor))
        for factor in (2, 3, 4)
        for name in ("lanczos", "bicubic", "area")
    },
    "gaussian": (Blur("gaussian", 1.3), (2, 17, 22)),
    "gaussian, large": (Blur("gaussian", 3), (1, 40, 33)),
    "disk": (Blur("disk", 2.4), (3, 21, 18)),
    "motion": (Blur("motion", 7, 30, border="reflect"), (1, 19, 24)),
    "mosaic": (Mosaic("GRBG"), (3, 9, 12)),
    "inpaint": (Inpaint(), (3, 7, 8)),
}


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", OPERATORS)
def test_an_operator_has_an_adjoint(name: str) -> None:
    operator, shape = OPERATORS[name]
    x = rand(1, *shape).requires_grad_()
    seen = operator(x)
    v = rand(*seen.shape, seed=1)
    seen.backward(v)
    assert x.grad is not None
    # It is linear, so that the gradient of <A(x), v> is the adjoint of v: <Aw, v> = <w, Aᵀv> for any w.
    w = rand(1, *shape, seed=2)
    assert float((operator(w) * v).sum()) == pytest.approx(float((w * x.grad).sum()), rel=1e-12)
    assert operator.image_shape(tuple(seen.shape[1:])) == shape  # type: ignore[arg-type]


@pytest.mark.parametrize("name", [name for name in OPERATORS if name not in ("mosaic", "inpaint")])
def test_a_flat_picture_stays_as_bright_as_it_is(name: str) -> None:
    operator, shape = OPERATORS[name]
    assert torch.allclose(operator(torch.full((1, *shape), 0.7, dtype=torch.float64)), torch.tensor(0.7).double())


@pytest.mark.parametrize(
    ("name", "of_pillow"),
    [("lanczos", Image.Resampling.LANCZOS), ("bicubic", Image.Resampling.BICUBIC), ("area", Image.Resampling.BOX)],
)
@pytest.mark.parametrize("factor", [2, 3, 4, 8])
def test_super_resolution_shrinks_as_pillow_does(name: str, of_pillow: Image.Resampling, factor: int) -> None:
    x = rand(1, 1, 5 * factor, 9 * factor)
    seen = SuperResolution(factor, name)(x)[0, 0].numpy()
    # Floats, which Pillow does not round to 8 bits in between.
    expected = Image.fromarray(x[0, 0].numpy().astype(np.float32), "F").resize((9, 5), of_pillow)
    assert np.abs(seen - np.asarray(expected)).max() < 1e-6


@pytest.mark.parametrize("kernel", [("gaussian", 1.3), ("gaussian", 3), ("disk", 2.4), ("motion", 9)])
def test_a_blur_is_the_convolution_with_its_kernel(kernel: tuple[str, float]) -> None:
    blur = Blur(*kernel, angle=25)
    x = rand(1, 2, 40, 34)
    for channel in range(2):
        expected = convolve(x[0, channel].numpy(), blur.kernel.numpy(), mode="mirror")
        assert np.allclose(blur(x)[0, channel].numpy(), expected, atol=1e-12)


def test_the_kernels_are_what_their_numbers_say() -> None:
    gaussian = Blur("gaussian", 1.6).kernel.numpy()
    offsets = np.arange(len(gaussian)) - len(gaussian) // 2
    assert math.sqrt((gaussian.sum(axis=0) * offsets**2).sum()) == pytest.approx(1.6, rel=0.01)
    disk = Blur("disk", 3).kernel.numpy()
    assert disk.max() == pytest.approx(1 / (math.pi * 9), rel=0.01)
    motion = Blur("motion", 9).kernel.numpy()
    middle = motion[len(motion) // 2]
    assert middle.sum() == pytest.approx(1)
    assert middle[middle > 0] == pytest.approx(np.full(9, 1 / 9), rel=0.01)
    upwards = Blur("motion", 9, 90).kernel.numpy()
    assert np.allclose(upwards, motion.T, atol=1e-3)
    rising = Blur("motion", 9, 45).kernel.numpy()
    assert rising[0, -1] > 0.05  # from the lower left to the upper right
    assert rising[0, 0] == 0


def test_a_kernel_is_read_from_a_file_and_not_mirrored(tmp_path: Path) -> None:
    kernel = np.array([[0.0, 1, 2], [0, 4, 0], [1, 0, 0]])
    np.save(tmp_path / "psf.npy", kernel)
    Image.fromarray((20 * kernel).astype(np.uint8)).save(tmp_path / "psf.png")
    point = torch.zeros(1, 1, 7, 7, dtype=torch.float64)
    point[0, 0, 3, 3] = 1
    for name in ("psf.npy", "psf.png"):
        seen = Blur(str(tmp_path / name))(point)[0, 0, 2:5, 2:5]
        assert np.allclose(seen.numpy(), kernel / kernel.sum())


@pytest.mark.parametrize(
    ("kernel", "told"),
    [
        (np.ones((2, 3)), "2x3 pixels: expected odd sides"),
        (np.array([[1.0, -1, 1]] * 3), "negative"),
        (np.zeros((3, 3)), "none at all"),
    ],
)
def test_what_is_no_kernel_is_refused(tmp_path: Path, kernel: np.ndarray, told: str) -> None:
    np.save(tmp_path / "psf.npy", kernel)
    with pytest.raises(UserError, match=told):
        Blur(str(tmp_path / "psf.npy"))


def test_settings_that_make_no_operator_are_refused() -> None:
    for make, told in (
        (lambda: Blur("box"), "problem.kernel=box"),
        (lambda: Blur("gaussian", 0), "problem.width"),
        (lambda: Blur(border="periodic"), "problem.border"),
        (lambda: SuperResolution(1), "problem.factor=1"),
        (lambda: SuperResolution(2, "box"), "problem.filter=box"),
        (lambda: Mosaic("RGBG"), "problem.pattern=RGBG"),
        (lambda: Inpaint(paste=3), "problem.paste=3"),
        (lambda: Inpaint(mask=""), "problem.mask="),
        (lambda: SuperResolution(4).check_image(30, 32), "try image.crop=28"),
        (lambda: Blur("gaussian", 9).known(torch.zeros(1, 1, 40, 90)), "a kernel of 73x73 on 40x90 pixels"),
        (lambda: Mosaic().image_shape((3, 8, 8)), "3 channels"),
        (lambda: Mosaic()(torch.zeros(1, 1, 8, 8)), "1 channels"),
    ):
        with pytest.raises(UserError, match=told):
            make()


def test_samples_that_depend_on_what_lies_beyond_the_border_do_not_count() -> None:
    blur, x = Blur("gaussian", 1), rand(1, 1, 30, 26)
    known = blur.known(x)
    assert known is not None
    assert known.sum() == 22 * 18  # 4 on each side
    wider = torch.nn.functional.pad(x, (8, 8, 8, 8), value=0.3)
    assert torch.allclose((blur(wider)[..., 8:-8, 8:-8] * known).double(), (blur(x) * known).double())
    assert Blur(border="reflect").known(x) is None


def test_a_mosaic_keeps_of_each_pixel_the_colour_of_its_place() -> None:
    x = rand(1, 3, 5, 6)
    seen = Mosaic("GBRG")(x)[0, 0]
    assert torch.equal(seen[::2, ::2], x[0, 1, ::2, ::2])
    assert torch.equal(seen[::2, 1::2], x[0, 2, ::2, 1::2])
    assert torch.equal(seen[1::2, ::2], x[0, 0, 1::2, ::2])
    assert torch.equal(seen[1::2, 1::2], x[0, 1, 1::2, 1::2])
    view = Mosaic().noise_view(np.arange(24.0).reshape(4, 6, 1))
    assert view.shape == (2, 3, 4)
    assert view[0, :, 0].tolist() == [0, 2, 4]
