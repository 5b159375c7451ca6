"""Pictures with people -> padded batches, in numpy and OpenCV; never a device.

`plan` decides what every step sees; a source (`coco`, `drawn_people`) gives a `Sample`; `transforms` resizes and flips
it; `buckets` pads and stacks; `pipeline` runs the plan in threads.  `annotations` says what an
entry of a COCO file must be, `check` names the faults of a data set.  `image_files`, `pil_images` and `video_files`
give RGB bytes, `video_containers` says whether a video was cut off.
"""
