"""Images with people -> padded batches, in numpy and OpenCV; nothing here uses an accelerator.

`plan` decides which images every step sees; a source (`coco`, `drawn/`) returns a `Sample`; `transforms` resizes and
flips it; `buckets` pads and stacks the samples; `pipeline` executes the plan in threads.

`sources` recognises what a path is and reads it as the content of a COCO file: by `coco_layout` and `export_folders`
(where files lie; `splits` has the words for train, val and test), `coco_dialects` (what datasets and tools write
otherwise), or `yolo_pose`; `label_studio` converts that tool's own JSON.  `annotations` validates the entries (`values`
says what a single value may be), `categories` finds the category with joints and their order, `category_skeleton` the
skeleton that it defines, and `missing_fields` takes boxes and areas from the rest; `labels` holds everything as arrays,
and `masks` decodes segmentations.  `own_source` makes a dataset of a class of the user's.

`shards` reads a built set, whose parts are `shard_index` and `tf_example`; `tfds_builder` writes it.  `shapes` finds
the shapes that images are padded to.

`orientation` reads the EXIF orientation of an image file.  `check` lists the faults of a dataset: `image_facts`
reads the files, `copies` finds images that are there twice, and `coordinates` finds what shows only in the statistics
of the whole file.  `repair` and `person_repair` make a cleaned file of it, and `stats` counts and measures it.
`image_files`, `pil_images` and `video_files` decode to RGB bytes; `video_containers` detects truncated videos.
"""
