"""A run on one page: `run` reads its folder, `curves` and `people` make the images, `markup` writes the HTML, and
`page` puts them together.  `dataset` is the page of a dataset.  `figure` draws the plots of both.
"""
