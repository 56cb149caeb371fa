"""Somebody who looks at the camera HOST at ADDRESS:PORT for SECONDS, and takes PACE bytes a second, if that is said. Says how many
pictures they saw, and how old these were in ms: the middle one, and all but a twentieth."""

import socket
import sys
import time

address, port, host, seconds = sys.argv[1:5]
pace = int(sys.argv[5]) if len(sys.argv) > 5 else None
STAMP = b"STAMP:"
FEW = 16 * 1024

looker = socket.socket(socket.AF_INET)
if pace:
    looker.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, FEW)
looker.settimeout(1)
looker.connect((address, int(port)))
looker.sendall(b"GET / HTTP/1.1\r\nhost: %s\r\n\r\n" % host.encode())
end = time.monotonic() + float(seconds)
held, ages = b"", []
while time.monotonic() < end:
    try:
        piece = looker.recv(FEW)
    except TimeoutError:
        continue
    if not piece:
        sys.exit(f"it ended: {held[:500]!r}")
    if pace:
        time.sleep(len(piece) / pace)
    held += piece
    while (at := held.find(STAMP)) >= 0 and len(held) >= at + len(STAMP) + 16:
        digits, held = held[at + len(STAMP) : at + len(STAMP) + 16], held[at + len(STAMP) + 16 :]
        try:
            ages.append(time.time() * 1000 - int(digits, 16))
        except ValueError:
            # The end of a chunk is among them.
            pass
    held = held[-len(STAMP) - 16 :] if STAMP not in held else held[held.find(STAMP) :]
ages.sort()
if not ages:
    sys.exit("nothing was seen")
print(len(ages), round(ages[len(ages) // 2]), round(ages[len(ages) * 95 // 100]))
