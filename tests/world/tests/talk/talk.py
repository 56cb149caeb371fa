"""Two programs that talk without pause, so that a fault is seen in what they print.

talk.py serve tcp|tcp6|udp PORT        prints "from ADDRESS PORT" for every new caller, echoes lines
talk.py tell tcp|tcp6 PORT             the same, but sends numbers without hearing any
talk.py call tcp|tcp6|udp HOST PORT    sends a number every 50 ms, prints "echo NUMBER", and "broken: WHY" on an error
"""

import socket
import sys
import threading
import time


def say(*words):
    print(*words, flush=True)


def serve_tcp(port, answer, family=socket.AF_INET):
    listener = socket.create_server(("", port), family=family)
    say("serving")
    while True:
        connection, peer = listener.accept()
        say("from", *peer[:2])
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def echo_tcp(connection):
    try:
        while data := connection.recv(4096):
            connection.sendall(data)
        say("finished")
    except OSError as error:
        say("broken:", error)


def tell_tcp(connection):
    number = 0
    try:
        while True:
            connection.sendall(b"%d\n" % number)
            number += 1
            time.sleep(0.05)
    except OSError as error:
        say("broken:", error)


def serve_udp(port):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("", port))
    say("serving")
    seen = set()
    while True:
        data, peer = sock.recvfrom(4096)
        if peer not in seen:
            seen.add(peer)
            say("from", *peer)
        sock.sendto(data, peer)


def call(sock):
    threading.Thread(target=print_echoes, args=(sock,), daemon=True).start()
    number = 0
    while True:
        try:
            sock.send(b"%d\n" % number)
        except OSError as error:
            say("broken:", error)
        number += 1
        time.sleep(0.05)


def print_echoes(sock):
    while True:
        try:
            data = sock.recv(4096)
        except OSError as error:
            say("broken:", error)
            time.sleep(0.05)
            continue
        if not data:
            return say("finished")
        for number in data.split():
            say("echo", number.decode())


def main(role, kind, *where):
    port = int(where[-1])
    family = socket.AF_INET6 if kind == "tcp6" else socket.AF_INET
    if role != "call" and kind == "udp":
        return serve_udp(port)
    if role != "call":
        return serve_tcp(port, {"serve": echo_tcp, "tell": tell_tcp}[role], family)
    sock = socket.socket(family, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM)
    sock.connect((where[0], port))
    call(sock)


main(*sys.argv[1:])
