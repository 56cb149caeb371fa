"""Runs a script of docs/netgear.md as it stands there, with a camera that any machine has.

netgear.py SCRIPT [without-paramiko]
"""

import runpy
import sys
import time

import cv2
import numpy

RATE = 20


class Camera:
    """A picture that moves."""

    def __init__(self, _number):
        self.shown = 0

    def read(self):
        time.sleep(1 / RATE)
        picture = numpy.zeros((480, 640, 3), numpy.uint8)
        cv2.circle(picture, (self.shown * 7 % 640, 240), 40, (0, 200, 255), -1)
        self.shown += 1
        return True, picture


if "without-paramiko" in sys.argv:
    # As where it is not installed.
    sys.modules["paramiko"] = None
cv2.VideoCapture = Camera
runpy.run_path(sys.argv[1], run_name="__main__")
