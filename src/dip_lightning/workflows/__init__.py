"""Several fits that belong together: tiles of a picture, pictures of a folder; and going on with a run."""
