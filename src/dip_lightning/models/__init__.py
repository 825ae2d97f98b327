"""The networks that serve as image priors. Each maps z (N, C_z, H, W) to an image (N, C, H, W) in (0, 1)."""

from dip_lightning.models.deep_decoder import DeepDecoder
from dip_lightning.models.lean_unet import LeanUNet
from dip_lightning.models.network import Network
from dip_lightning.models.resnet import ResNet
from dip_lightning.models.resunet import ResUNet
from dip_lightning.models.unet import UNet

__all__ = ["DeepDecoder", "LeanUNet", "Network", "ResNet", "ResUNet", "UNet"]
