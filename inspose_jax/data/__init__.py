"""Images with people -> padded batches, in numpy and OpenCV; nothing here uses an accelerator.

`plan` decides which images every step sees; a source (`coco`, `drawn/`) returns a `Sample`; `transforms` resizes and
flips it; `buckets` pads and stacks the samples; `pipeline` executes the plan in threads.

`annotations` validates the entries of a COCO file, `categories` finds the person category and the order of its joints,
and `orientation` reads the EXIF orientation of an image file.  `check` lists the faults of a dataset: `image_facts`
reads the files, `copies` finds images that are there twice, and `coordinates` finds what shows only in the statistics
of the whole file.  `repair` and `person_repair` make a cleaned file of it, and `stats` counts and measures it.
`image_files`, `pil_images` and `video_files` decode to RGB bytes; `video_containers` detects truncated videos.
"""
