"""What go2rtc's stream page and its WebSocket do, with real ffmpeg behind: the page asks {"type": "mse", "value": codecs} at
/api/ws, hears {"type": "mse", "value": the type of the film}, and then fragmented MP4 in binary messages. At 127.0.0.1:1984."""

import base64
import hashlib
import http.server
import json
import struct
import subprocess

ACCEPT = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, section 1.3
FILM = 'video/mp4; codecs="avc1.42C01E"'
FFMPEG = (
    "ffmpeg -hide_banner -loglevel error -re -f lavfi -i testsrc=s=640x360:r=10 -c:v libx264 -profile:v baseline -level 3.0 "
    "-pix_fmt yuv420p -g 5 -tune zerolatency -f mp4 -movflags frag_keyframe+empty_moov+default_base_moof pipe:1"
)
PAGE = b"""<!doctype html><title>stream</title><video id="video" muted autoplay playsinline></video><script>
const socket = new WebSocket(location.origin.replace("http", "ws") + "/api/ws?src=cam");
socket.binaryType = "arraybuffer";
const source = new MediaSource(), waiting = [];
let buffer = null;
const append = () => { if (buffer && !buffer.updating && waiting.length > 0) buffer.appendBuffer(waiting.shift()); };
video.src = URL.createObjectURL(source);
const opened = new Promise((done) => source.addEventListener("sourceopen", done));
socket.onopen = async () => { await opened; socket.send(JSON.stringify({ type: "mse", value: "avc1.640029,avc1.42C01E" })); };
socket.onmessage = ({ data }) => {
    if (typeof data !== "string") { waiting.push(data); append(); return; }
    buffer = source.addSourceBuffer(JSON.parse(data).value);
    buffer.addEventListener("updateend", append);
};
</script>"""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        if self.path.startswith("/api/ws"):
            return self.stream()
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.send_header("content-length", str(len(PAGE)))
        self.end_headers()
        self.wfile.write(PAGE)

    def stream(self):
        key = self.headers["sec-websocket-key"].encode()
        self.send_response(101)
        self.send_header("upgrade", "websocket")
        self.send_header("connection", "upgrade")
        self.send_header("sec-websocket-accept", base64.b64encode(hashlib.sha1(key + ACCEPT).digest()).decode())
        self.end_headers()
        self.close_connection = True
        head = self.rfile.read(2)
        mask, data = self.rfile.read(4), self.rfile.read(head[1] & 0x7F)
        asked = json.loads(bytes(byte ^ mask[i % 4] for i, byte in enumerate(data)))
        assert asked["type"] == "mse", asked
        self.say(1, json.dumps({"type": "mse", "value": FILM}).encode())
        ffmpeg = subprocess.Popen(FFMPEG.split(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        try:
            while piece := ffmpeg.stdout.read1(64 * 1024):
                self.say(2, piece)
        except OSError:
            print("the viewer went", flush=True)
        finally:
            ffmpeg.kill()

    def say(self, kind, data):
        length = bytes([len(data)]) if len(data) < 126 else b"\x7e" + struct.pack(">H", len(data)) if len(data) < 65536 else b"\x7f" + struct.pack(">Q", len(data))
        self.wfile.write(bytes([0x80 | kind]) + length + data)

    def log_message(self, *_):
        pass


print("ready", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", 1984), Handler).serve_forever()
