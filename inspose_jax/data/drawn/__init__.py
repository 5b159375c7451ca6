"""Drawn people: an endless supply of images with known joints, for training and testing without any files.

`people` is the source, with one image per seed; `scene` composes people, background and occluders and labels what is
visible; `body` poses a body in space, `person` paints it, and `surroundings` paints everything around it; all of them
paint on a `canvas`.
"""
