"""What a device has to offer, on loopback: a page with a WebSocket that echoes (8000), an echo over TCP (7001) and over
UDP (7002)."""

import base64
import hashlib
import http.server
import socketserver
import threading

ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3


class Page(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.headers.get("upgrade", "").lower() == "websocket":
            return self.echo_frames()
        body = b"the page of the device\n"
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def echo_frames(self):
        key = self.headers["sec-websocket-key"].encode()
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key + ACCEPT).digest()).decode())
        self.end_headers()
        self.close_connection = True
        # Frames of less than 126 bytes, masked, as browsers send them.
        while len(head := self.rfile.read(2)) == 2 and head[0] & 0x0F != 8:
            length = head[1] & 0x7F
            mask, data = self.rfile.read(4), self.rfile.read(length)
            plain = bytes(byte ^ mask[i % 4] for i, byte in enumerate(data))
            self.wfile.write(bytes([head[0], length]) + plain)

    def log_message(self, *_):
        pass


class EchoTcp(socketserver.BaseRequestHandler):
    def handle(self):
        try:
            while data := self.request.recv(4096):
                self.request.sendall(data)
        except OSError:
            pass


class EchoUdp(socketserver.BaseRequestHandler):
    def handle(self):
        data, sock = self.request
        sock.sendto(data, self.client_address)


class ThreadingTcp(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128


page = http.server.ThreadingHTTPServer(("127.0.0.1", 8000), Page)
tcp = ThreadingTcp(("127.0.0.1", 7001), EchoTcp)
udp = socketserver.UDPServer(("127.0.0.1", 7002), EchoUdp)
for server in (page, tcp, udp):
    threading.Thread(target=server.serve_forever).start()
print("serving", flush=True)
