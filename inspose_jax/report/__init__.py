"""A run on one page: `run` reads what stands in its folder, `curves` and `people` make the pictures, `markup` is the
HTML, `page` puts them together.
"""
