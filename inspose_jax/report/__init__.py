"""A run on one page: `run` reads its folder, `curves` and `people` make the images, `markup` writes the HTML, and
`page` puts them together.
"""
