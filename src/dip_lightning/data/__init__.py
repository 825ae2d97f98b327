"""Images in and out, the noise that is added to them, and the data module that hands them to Lightning."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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
    from dip_lightning.data.loading import load_observation
    from dip_lightning.data.observation import Observation
    from dip_lightning.data.picture import Picture, picture_from_array
    from dip_lightning.data.source import ImageSource
    from dip_lightning.data.value_range import ValueRange

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

# Each is loaded when it is asked for: opening a picture needs neither torch nor scikit-image.
_PLACES = {
    "SAMPLES": "cropping",
    "SAMPLE_PREFIX": "cropping",
    "SUFFIXES": "image_io",
    "DefaultNoise": "degradation",
    "Degradation": "degradation",
    "GaussianNoise": "degradation",
    "ImageSource": "source",
    "ImpulseNoise": "degradation",
    "JpegCompression": "degradation",
    "NoDegradation": "degradation",
    "Observation": "observation",
    "Picture": "picture",
    "ShotNoise": "degradation",
    "SpeckleNoise": "degradation",
    "ValueRange": "value_range",
    "load_observation": "loading",
    "picture_from_array": "picture",
    "read_image": "image_io",
    "write_image": "image_io",
}


def __getattr__(name: str) -> Any:
    if name in _PLACES:
        return getattr(import_module(f"dip_lightning.data.{_PLACES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
