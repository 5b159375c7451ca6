"""InsPose as its authors released it, which differs from the paper in most parts: the second method of this package.

    config.py    its fields, with the release's values
    network.py   coarse joints, star-shaped deformable convolutions, dense branches at stride 4
    targets.py   which location answers for whom, and what the dense branches learn
    losses.py    the seven terms
    decode.py    soft-NMS over the coarse joints, then the KP-Nets of the people left
    method.py    all of it as a `Method`

What both have in common is in `network/`, `geometry.py` and `decode.py` of the paper.  "Released code" in a comment
means the authors' published implementation, from which the facts are taken, and no code.
"""
