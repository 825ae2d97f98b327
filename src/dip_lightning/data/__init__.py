"""Images in and out, the noise that is added to them, and the data module that hands them to Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dip_lightning.data.cropping import SAMPLE_PREFIX, SAMPLES
from dip_lightning.data.degradation import (
    DefaultNoise,
    Degradation,
    GaussianNoise,
    ImpulseNoise,
    JpegCompression,
    NoDegradation,
    ShotNoise,
    SpeckleNoise,
)
from dip_lightning.data.image_io import SUFFIXES, read_image, write_image
from dip_lightning.data.picture import Picture, picture_from_array
from dip_lightning.data.value_range import ValueRange

if TYPE_CHECKING:
    from dip_lightning.data.loading import load_observation
    from dip_lightning.data.observation import Observation
    from dip_lightning.data.source import ImageSource

__all__ = [
    "SAMPLES",
    "SAMPLE_PREFIX",
    "SUFFIXES",
    "DefaultNoise",
    "Degradation",
    "GaussianNoise",
    "ImageSource",
    "ImpulseNoise",
    "JpegCompression",
    "NoDegradation",
    "Observation",
    "Picture",
    "ShotNoise",
    "SpeckleNoise",
    "ValueRange",
    "load_observation",
    "picture_from_array",
    "read_image",
    "write_image",
]

# What needs torch is loaded when it is asked for: comparing pictures does not.
_WITH_TORCH = {
    "ImageSource": "source",
    "Observation": "observation",
    "load_observation": "loading",
}


def __getattr__(name: str) -> Any:
    if name in _WITH_TORCH:
        return getattr(import_module(f"dip_lightning.data.{_WITH_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
