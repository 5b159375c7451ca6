"""Pictures with people -> padded batches, in numpy and OpenCV; never a device.

`plan` decides what every step sees; a source (`coco`, `drawn/`) gives a `Sample`; `transforms` resizes and flips
it; `buckets` pads and stacks; `pipeline` runs the plan in threads.  `annotations` says what an entry of a COCO file
must be, `categories` in what order its joints stand, `orientation` how an image file is turned; `check` names the
faults of a data set, `coordinates` those that only all of its numbers show.  `image_files`, `pil_images` and
`video_files` give RGB bytes, `video_containers` says whether a video was cut off.
"""
