"""Sends as VidGear's NetGear does, by the real libzmq: PATTERN PORT PICTURE COUNT."""

import json
import sys
import time
import zmq

pattern, port, picture, count = sys.argv[1], sys.argv[2], open(sys.argv[3], "rb").read(), int(sys.argv[4])
socket = zmq.Context().socket({"publish": zmq.PUB, "pair": zmq.PAIR, "request": zmq.REQ}[pattern])
socket.setsockopt(zmq.LINGER, 5000)
socket.setsockopt(zmq.RCVTIMEO, 10000)
if pattern == "request":
    socket.setsockopt(zmq.REQ_RELAXED, 1)
    socket.setsockopt(zmq.REQ_CORRELATE, 1)
socket.connect("tcp://127.0.0.1:" + port)
# Whoever publishes is not told when somebody has subscribed.
time.sleep(0.5 if pattern == "publish" else 0)


def header(ended):
    compression = {"dct": True, "ups": False, "colorspace": "BGR"}
    return json.dumps({"terminate_flag": ended, "compression": compression, "message": None, "pattern": "2", "dtype": "", "shape": ""})


def answered():
    if pattern != "publish":
        print(socket.recv_string(), flush=True)


for number in range(count):
    socket.send_string(header(False), zmq.SNDMORE)
    socket.send(picture + b"\0" * number)
    answered()
    time.sleep(0.05)
socket.send_string(header(True))
answered()
