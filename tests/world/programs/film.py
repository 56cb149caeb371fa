"""A camera at 0.0.0.0:PORT for whoever asks: a picture of BYTES every EVERY ms, 0 for as fast as they are taken, and after COUNT
of them none. Each has the time at which it was taken right before its end."""

import socket
import sys
import threading
import time

port, every, size = (int(word) for word in sys.argv[1:4])
count = int(sys.argv[4]) if len(sys.argv) > 4 else None
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=film\r\n\r\n--film\r\n"
START = bytes([0xFF, 0xD8, 0xFF, 0xC0, 0, 11, 8, 0, 24, 0, 32, 1, 1, 0x11, 0, 0xFF, 0xDA, 0, 8, 1, 1, 0, 0, 63, 0])
STAMP = b"STAMP:"


def serve(reader):
    reader.recv(4096)
    reader.sendall(HEAD)
    filler = b"\x55" * (size - len(START) - len(STAMP) - 16 - 2)
    head = b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % size
    due, filmed = time.monotonic(), 0
    while count is None or filmed < count:
        stamp = b"%016x" % (time.time_ns() // 1_000_000)
        reader.sendall(head + START + filler + STAMP + stamp + b"\xff\xd9\r\n--film\r\n")
        filmed += 1
        if count and filmed % (count // 10) == 0:
            print("filmed", filmed, flush=True)
        due = max(due + every / 1000, time.monotonic())
        time.sleep(due - time.monotonic() if due > time.monotonic() else 0)
    # The last stands for as long as somebody looks.
    reader.recv(1)


def attend(reader):
    try:
        serve(reader)
    except OSError:
        pass
    reader.close()


listener = socket.create_server(("0.0.0.0", port))
print("ready", flush=True)
while True:
    threading.Thread(target=attend, args=[listener.accept()[0]], daemon=True).start()
