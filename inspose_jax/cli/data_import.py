"""`inspose data import`: write Label Studio's own JSON as a COCO file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from inspose_jax.cli import arguments
from inspose_jax.errors import NotFound, UserError


@dataclass
class Import:
    """Write a COCO file of what Label Studio exports as JSON.  Points in a common rectangle are one person.

    Example: inspose data import export.json --images photos --out annotations.json
    """

    file: tyro.conf.Positional[Path]
    """Label Studio's export, JSON (not JSON-MIN)."""
    out: Path
    """COCO file to write."""
    images: Path | None = None
    """Folder of the images, to find their names in it, and to note it; without it the names are taken as they are."""
    skeleton: Annotated[str, tyro.conf.arg(metavar="PRESET|JSON", help_behavior_hint="")] = ""
    """All joints and their order, a preset or a JSON file; by default the joints that occur."""


def run(argv: list[str]) -> None:
    """Convert, write and say what was found."""
    launch, _ = arguments.parse(Import, argv, "data import")
    if launch.images is not None and not launch.images.is_dir():
        raise NotFound(f"{launch.images}: no such folder of images; give the folder where the images lie")
    if launch.out.resolve() == launch.file.resolve():
        raise UserError(f"{launch.out}: would be overwritten by its own conversion; choose another --out")

    import json
    import shlex

    from inspose_jax import files, skeletons
    from inspose_jax.data import coco_layout, label_studio

    skeleton = skeletons.read(launch.skeleton) if launch.skeleton not in ("", skeletons.FROM_DATA.name) else None
    content, remarks = label_studio.read(launch.file, launch.images, skeleton)
    out = shlex.quote(str(launch.out))
    if launch.images is not None:
        content = coco_layout.with_image_folder(content, launch.images, launch.out)
        place = f"--data {out}"
    else:
        place = f"--images FOLDER --annotations {out}"
    files.write(launch.out, json.dumps(content))
    for remark in remarks:
        print(f"{launch.file}: {remark}")
    labelled = sum(person["num_keypoints"] > 0 for person in content["annotations"])
    count, joints = len(content["images"]), ", ".join(content["categories"][0]["keypoints"])
    print(
        f"{launch.out}: {count} image{'s' * (count != 1)}, people with joints: {labelled}; joints: {joints}; look at "
        f"them: inspose data show {place} --out labels.html"
    )
