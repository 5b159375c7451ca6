"""Images with people -> padded batches, in numpy and OpenCV; nothing here uses an accelerator.

`plan` decides which images every step sees; a source (`coco`, `drawn/`) returns a `Sample`; `transforms` resizes and
flips it; `buckets` pads and stacks the samples; `pipeline` executes the plan in threads.

`annotations` validates the entries of a COCO file, `categories` finds the person category and the order of its joints,
and `orientation` reads the EXIF orientation of an image file.  `check` lists the faults of a dataset; `coordinates`
finds those that show only in the statistics of the whole file.  `image_files`, `pil_images` and `video_files` decode
to RGB bytes; `video_containers` detects truncated videos.
"""
