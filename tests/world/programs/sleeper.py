"""A machine that sleeps: sleeper.py INTERFACE ADDRESS/PREFIX PORT

It has no address and answers nobody. What comes by its wire is looked at as a network card does that may wake it: for
six bytes of ones and its own address sixteen times, wherever in a frame (AMD, Magic Packet Technology). Then it takes
its address and serves an echo.
"""

import socket
import subprocess
import sys
import threading

interface, address, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
with open(f"/sys/class/net/{interface}/address") as file:
    own = bytes.fromhex(file.read().strip().replace(":", ""))
subprocess.run(["ip", "-4", "address", "flush", "dev", interface], check=True)
ETH_P_ALL = 3
wire = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
wire.bind((interface, 0))


def echo(connection):
    with connection:
        while data := connection.recv(4096):
            connection.sendall(data)


def serve():
    subprocess.run(["ip", "address", "add", address, "dev", interface], check=True)
    with socket.create_server(("0.0.0.0", port)) as server:
        print("awake", flush=True)
        while True:
            threading.Thread(target=echo, args=[server.accept()[0]], daemon=True).start()


print("asleep with " + own.hex(":"), flush=True)
times = 0
while True:
    frame = wire.recv(65535)
    if b"\xff" * 6 + own * 16 in frame:
        times += 1
        to = "everybody" if frame[:6] == b"\xff" * 6 else frame[:6].hex(":")
        print(f"magic packet {times} to {to}", flush=True)
        if times == 1:
            threading.Thread(target=serve, daemon=True).start()
