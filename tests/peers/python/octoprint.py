"""A visitor of OctoPrint, as its own pages are: logs in with cookies, hears the live socket, uploads and downloads.

octoprint.py URL USER PASSWORD UPLOAD-BYTES     prints one line for each thing that works
"""

import hashlib
import http.client
import json
import ssl
import sys
import urllib.parse
import urllib.request

import websocket

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE
LIMIT = 60


class Visitor:
    """A browser's cookies: every name=value as it came, sent back below its path, unread."""

    def __init__(self, url):
        self.url = urllib.parse.urlsplit(url)
        self.cookies = {}

    def ask(self, method, path, body=None, headers=None):
        connection = http.client.HTTPSConnection(self.url.hostname, self.url.port, timeout=LIMIT, context=UNVERIFIED)
        headers = {"Cookie": self.cookie_header(), **(headers or {})}
        if method != "GET":
            headers["Origin"] = f"https://{self.url.netloc}"
            csrf = [value for name, value in self.cookies.items() if name.startswith("csrf_token")]
            if csrf:
                headers["X-CSRF-Token"] = csrf[0]
        connection.request(method, self.url.path.rstrip("/") + path, body, headers)
        answer = connection.getresponse()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            pair, *attributes = cookie.split(";")
            name, value = pair.split("=", 1)
            path = next((a.split("=", 1)[1] for a in attributes if a.strip().lower().startswith("path=")), "/")
            below = self.url.path.rstrip("/") + "/"
            assert below.startswith(path), f"a cookie for {path} came from {self.url.path}: {cookie}"
            self.cookies[name.strip()] = value
        return answer

    def cookie_header(self):
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items())


def main(url, user, password, size):
    visitor = Visitor(url)
    sent_on = visitor.ask("GET", "/")
    assert sent_on.headers["Location"].startswith(f"{visitor.url.path}/login/"), sent_on.headers["Location"]
    page = visitor.ask("GET", "/login/")
    assert page.status == 200 and b"OctoPrint" in page.read(), page.status
    json_type = {"Content-Type": "application/json"}
    login = visitor.ask("POST", "/api/login", json.dumps({"user": user, "pass": password}), json_type)
    told = json.load(login)
    assert login.status == 200 and told["name"] == user, (login.status, told)
    names = sorted(visitor.cookies)
    who = json.load(visitor.ask("GET", "/api/currentuser"))
    assert who["name"] == user, who
    print("logged in with", " ".join(names))

    live(visitor, f"{user}:{told['session']}")
    upload(visitor, size)
    timelapse(visitor)
    webcam(visitor)


def live(visitor, credentials):
    address = visitor.url._replace(scheme="wss", path=visitor.url.path.rstrip("/") + "/sockjs/websocket").geturl()
    socket = websocket.create_connection(
        address,
        timeout=LIMIT,
        cookie=visitor.cookie_header(),
        origin=f"https://{visitor.url.netloc}",
        sslopt={"cert_reqs": ssl.CERT_NONE, "check_hostname": False},
    )
    socket.send(json.dumps({"auth": credentials}))
    temperatures = 0
    while temperatures < 2:
        heard = json.loads(socket.recv())
        temperatures += len(heard.get("current", {}).get("temps", []))
    print("live: temperatures move")


def upload(visitor, size):
    line = b"G1 X1.0 Y2.0 E0.01 ; a line of a long print\n"
    content = (line * (size // len(line) + 1))[:size]
    edge = "an-edge-that-no-line-has"
    head = f'--{edge}\r\nContent-Disposition: form-data; name="file"; filename="long.gcode"\r\n'
    head += "Content-Type: application/octet-stream\r\n\r\n"
    body = head.encode() + content + f"\r\n--{edge}--\r\n".encode()
    sent = visitor.ask("POST", "/api/files/local", body, {"Content-Type": f"multipart/form-data; boundary={edge}"})
    told = sent.read()
    assert sent.status == 201, (sent.status, told)
    back = visitor.ask("GET", "/downloads/files/local/long.gcode").read()
    assert hashlib.sha256(back).digest() == hashlib.sha256(content).digest(), f"{len(back)} other bytes came back"
    print(f"uploaded {size} bytes and got them back")


def timelapse(visitor):
    part = visitor.ask("GET", "/downloads/timelapse/print.mp4", headers={"Range": "bytes=1000-1999"})
    body = part.read()
    assert part.status == 206 and part.headers["Content-Range"].startswith("bytes 1000-1999/"), part.status
    assert body == (bytes(range(250)) * 8)[:1000], "other bytes than those asked for"
    print("timelapse: a range")


def webcam(visitor):
    stream = visitor.ask("GET", "/webcam/?action=stream")
    assert stream.headers["Content-Type"].startswith("multipart/x-mixed-replace"), (stream.status, stream.read())
    seen = b""
    while seen.count(b"\xff\xd8\xff") < 5:
        seen += stream.read1(65536)
    print("webcam: five frames")


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]))
