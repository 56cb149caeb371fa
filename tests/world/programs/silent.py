"""Visitors who connect and say nothing: silent.py ADDRESS PORT COUNT FIRST_SOURCE SOURCES

Opens COUNT connections, from SOURCES loopback addresses in turn, the first of which is FIRST_SOURCE, and never sends a
byte. Prints "all tried" when each was accepted or refused, and from then on twice a second "held N" for those that
stand.
"""

import errno
import ipaddress
import selectors
import socket
import sys
import time

address, port, count, first, sources = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], int(sys.argv[5])
first = int(ipaddress.ip_address(first))
selector = selectors.DefaultSelector()
trying, held, told = set(), set(), 0.0


def begin(number):
    visitor = socket.socket()
    visitor.setblocking(False)
    # Ports of other sources may be the same.
    visitor.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    visitor.bind((str(ipaddress.ip_address(first + number % sources)), 0))
    code = visitor.connect_ex((address, port))
    if code not in (0, errno.EINPROGRESS):
        return visitor.close()
    trying.add(visitor)
    selector.register(visitor, selectors.EVENT_WRITE)


def attend(visitor):
    if visitor in trying:
        trying.discard(visitor)
        if visitor.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0:
            held.add(visitor)
            selector.modify(visitor, selectors.EVENT_READ)
            return
    else:
        try:
            if visitor.recv(4096):
                return
        except OSError:
            pass
        held.discard(visitor)
    selector.unregister(visitor)
    visitor.close()


begun, has_told = 0, False
while True:
    # A few at a time: what is tried here are the visitors that stand, not the length of a backlog.
    while begun < count and len(trying) < 200:
        begin(begun)
        begun += 1
    for key, _ in selector.select(0.1):
        attend(key.fileobj)
    if begun == count and not trying and not has_told:
        has_told = True
        print("all tried", flush=True)
    if has_told and time.monotonic() - told > 0.5:
        told = time.monotonic()
        print("held", len(held), flush=True)
