"""Two targets on one device: a vault with a secret, and a page that wants it and the portal's."""

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

FOLDER = Path(__file__).parent
SEEN = []


class Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, kind="text/html; charset=utf-8"):
        data = body.encode()
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words):
        pass


class Vault(Quiet):
    def do_GET(self):
        if self.path == "/seen":
            return self.answer(json.dumps(SEEN), "application/json")
        SEEN.append([self.command, self.path, self.headers.get("upgrade", "")])
        self.answer("<!doctype html><title>Vault</title><h1>the secret of the vault</h1>")

    def do_POST(self):
        SEEN.append([self.command, self.path, ""])
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.answer("done")

    do_PUT = do_DELETE = do_PATCH = do_POST


class Hostile(Quiet):
    def do_GET(self):
        name = {"/": "hostile.html", "/hostile.js": "hostile.js", "/worker.js": "hostile_worker.js"}.get(self.path)
        if name is None:
            return self.answer("nothing")
        kind = "text/html; charset=utf-8" if name.endswith(".html") else "text/javascript"
        self.answer((FOLDER / name).read_text(), kind)


def serve(port, handler):
    threading.Thread(target=ThreadingHTTPServer(("127.0.0.1", port), handler).serve_forever).start()


serve(int(sys.argv[1]), Hostile)
serve(int(sys.argv[2]), Vault)
print("ready", flush=True)
