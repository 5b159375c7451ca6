"""Write the annotations of some images of a COCO file: python subset.py IN.json OUT.json ID [ID ...]"""

import json
import sys
from pathlib import Path

source, target, *ids = sys.argv[1:]
wanted = {int(image_id) for image_id in ids}
content = json.loads(Path(source).read_text())
content["images"] = [image for image in content["images"] if image["id"] in wanted]
content["annotations"] = [person for person in content["annotations"] if person["image_id"] in wanted]
missing = wanted - {image["id"] for image in content["images"]}
if missing:
    sys.exit(f"{source} has no images {sorted(missing)}")
Path(target).write_text(json.dumps(content))
people = sum(person.get("num_keypoints", 0) > 0 and not person["iscrowd"] for person in content["annotations"])
print(f"{target}: {len(wanted)} images, {people} labelled people")
