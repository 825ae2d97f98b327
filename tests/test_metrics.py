import pytest
import torch
from torchmetrics.image import PeakSignalNoiseRatio

from dip_lightning.metrics import psnr


@pytest.mark.parametrize("value_range", [1.0, 255.0])
def test_psnr_agrees_with_torchmetrics(value_range: float) -> None:
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.rand((1, 3, 16, 20), generator=generator) * value_range for _ in range(2))
    reference = PeakSignalNoiseRatio(data_range=value_range)(one, other)
    assert float(psnr(one, other, value_range)) == pytest.approx(float(reference), abs=1e-4)


def test_psnr_of_equal_images_is_infinite_and_of_a_nan_is_nan() -> None:
    image = torch.rand(1, 3, 8, 8)
    assert torch.isinf(psnr(image, image))
    assert torch.isnan(psnr(image * torch.nan, image))


def test_psnr_by_hand() -> None:
    # An error of 0.1 everywhere: mse = 0.01, so 10 * log10(1 / 0.01) = 20 dB.
    assert float(psnr(torch.full((4,), 0.6), torch.full((4,), 0.5))) == pytest.approx(20.0, abs=1e-5)
