"""A visitor's WebSocket over HTTPS: websocket.py GATEWAY PORT HOST sends "hello" and prints what comes back."""

import socket
import ssl
import sys

gateway, port, host = sys.argv[1:]
context = ssl.create_default_context()
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
connection = context.wrap_socket(socket.create_connection((gateway, int(port)), 10), server_hostname=host)
connection.sendall(
    f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
)
reader = connection.makefile("rb")
status = reader.readline()
assert b" 101 " in status, status
while reader.readline() not in (b"\r\n", b""):
    pass
connection.sendall(b"\x81\x85\0\0\0\0hello")
head = reader.read(2)
print(reader.read(head[1]).decode())
