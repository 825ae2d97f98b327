"""Images in and out, the noise that is added to them, and the data module that hands them to Lightning."""

from dip_lightning.data.datamodule import ImageDataModule
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
from dip_lightning.data.observation import SAMPLE_PREFIX, SAMPLES, Observation, load_observation
from dip_lightning.data.picture import Picture, picture_from_array

__all__ = [
    "SAMPLES",
    "SAMPLE_PREFIX",
    "SUFFIXES",
    "DefaultNoise",
    "Degradation",
    "GaussianNoise",
    "ImageDataModule",
    "ImpulseNoise",
    "JpegCompression",
    "NoDegradation",
    "Observation",
    "Picture",
    "ShotNoise",
    "SpeckleNoise",
    "load_observation",
    "picture_from_array",
    "read_image",
    "write_image",
]
