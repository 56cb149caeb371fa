"""A page that holds a WebSocket, a stream of events and a stream of frames, and says when each of them ended."""

import base64
import hashlib
import http.server
import sys
import time

PAGE = b"""<!doctype html><html lang="en"><title>Room</title><main><h1>Room</h1></main><script>
window.alive = { socket: 0, events: 0, frames: 0 };
window.ended = {};
const end = (what) => { window.ended[what] ??= Date.now(); };
const socket = new WebSocket(location.origin.replace("http", "ws") + "/socket");
socket.onmessage = () => { alive.socket += 1; };
socket.onclose = () => end("socket");
const events = new EventSource("/events");
events.onmessage = () => { alive.events += 1; };
events.onerror = () => { end("events"); events.close(); };
(async () => {
  const reader = (await fetch("/frames")).body.getReader();
  try {
    for (;;) {
      const { done } = await reader.read();
      if (done) break;
      alive.frames += 1;
    }
  } catch {}
  end("frames");
})();
</script></html>"""


class Room(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path == "/socket":
            return self.hold_socket()
        if self.path == "/events":
            return self.hold("text/event-stream", b"data: tick\n\n")
        if self.path == "/frames":
            frame = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: 4\r\n\r\njpeg\r\n"
            return self.hold("multipart/x-mixed-replace; boundary=frame", frame)
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def hold(self, kind, piece):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()
        self.repeat(piece)

    def hold_socket(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
        self.send_response(101)
        for name, value in [("Upgrade", "websocket"), ("Connection", "Upgrade"), ("Sec-WebSocket-Accept", accept)]:
            self.send_header(name, value)
        self.end_headers()
        self.repeat(b"\x81\x04tick")

    def repeat(self, piece):
        self.close_connection = True
        try:
            while True:
                self.wfile.write(piece)
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass

    def log_message(self, *_):
        pass


if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Room)
    print("ready", flush=True)
    server.serve_forever()
