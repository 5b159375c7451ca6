"""Drawn people: endless images with known joints, to learn from and test with without files.

`people` is the source, an image a seed; `scene` puts people, things behind and things before them together and labels
what is seen; `body` is a posed body in space, `person` how it looks, `surroundings` what is around it; all of them
paint on a `canvas`.
"""
