"""Figure 3 of the paper, one file per box.

    image                                         dashed box, shared by all levels: instance_heads.py
       |                                        .------------------------------------------------------.
    resnet.py   C2 C3 C4 C5                     |  tower -> is a person?  logits f32[B,L]              |
       |                                  P3..P7|                                                      |
    fpn.py      P2 P3 P4 P5 P6 P7 --------------+  tower -> features, from which theta_at computes the |
                 |  |                           '------------------------------------------------------'
                 '--+ the level of the maps             |
                    |                                   v
                    +-- keypoint_features.py  F_kp --> kp_net.py   one KP-Net per person -> keypoint map -> Eq. 2
                    |
                    +-- disk_offset.py        where a joint lies in its cell -> Eq. 3
                    |
                    '-- heatmap.py            training only (Sec. 3.4)

inspose.py connects the boxes.  per_person.py evaluates the network of one person (kp_net.py) for all people of an
image, a few at a time.  tower.py is the stack of convolutions that most boxes begin with.
"""
