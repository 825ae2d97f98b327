"""The formats of image files, one module a family: each reads pictures of a file and writes them again."""
