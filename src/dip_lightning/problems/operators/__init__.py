"""Forward operators: how an observation arises from an image, one file each."""
