"""A webcam: `camera.py PORT` sends JPEG pictures for ever, ten a second, as mjpg-streamer does."""

import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PICTURE = b"\xff\xd8\xff\xe0" + bytes(20_000) + b"\xff\xd9"


class Camera(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace;boundary=frame")
        self.end_headers()
        try:
            while self.path == "/?action=stream":
                head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(PICTURE)}\r\n\r\n"
                self.wfile.write(head.encode() + PICTURE + b"\r\n")
                time.sleep(0.1)
        except ConnectionError:
            pass

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Camera)
print("the camera runs", flush=True)
server.serve_forever()
