"""A visitor of Jupyter: starts a kernel over HTTP and runs code in it over its WebSocket.

kernel.py start URL          prints the id of a new kernel
kernel.py run URL ID CODE    runs CODE in it and prints what it printed

VISITOR=user:password in the environment: what the gateway asks for.
"""

import base64
import json
import os
import ssl
import sys
import urllib.request
import uuid

import websocket

UNVERIFIED = ssl.create_default_context()
UNVERIFIED.check_hostname = False
UNVERIFIED.verify_mode = ssl.CERT_NONE
LIMIT = 20
VISITOR = os.environ.get("VISITOR")
BASIC = {"Authorization": "Basic " + base64.b64encode(VISITOR.encode()).decode()} if VISITOR else {}


def start(url):
    # As a browser does it: the page first, for its cookie, which then proves that the request is from the same site.
    cookies = urllib.request.HTTPCookieProcessor()
    opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=UNVERIFIED), cookies)
    opener.addheaders += BASIC.items()
    opener.open(url + "tree", timeout=LIMIT).read()
    token = next((c.value for c in cookies.cookiejar if c.name == "_xsrf"), "")
    host = url.split("//", 1)[1].split("/", 1)[0]
    headers = {"X-XSRFToken": token, "Origin": f"https://{host}", "Content-Type": "application/json"}
    request = urllib.request.Request(url + "api/kernels", data=b"{}", headers=headers, method="POST")
    with opener.open(request, timeout=LIMIT) as answer:
        print(json.load(answer)["id"])


def run(url, kernel, code):
    address = url.replace("https://", "wss://") + f"api/kernels/{kernel}/channels?session_id={uuid.uuid4().hex}"
    host = url.split("//", 1)[1].split("/", 1)[0]
    socket = websocket.create_connection(
        address,
        timeout=LIMIT,
        origin=f"https://{host}",
        header=BASIC,
        sslopt={"cert_reqs": ssl.CERT_NONE, "check_hostname": False},
    )
    asked = uuid.uuid4().hex
    header = {"msg_id": asked, "msg_type": "execute_request", "username": "v", "session": uuid.uuid4().hex, "version": "5.3"}
    content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
    message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
    socket.send(json.dumps(message))
    while True:
        heard = json.loads(socket.recv())
        if heard.get("parent_header", {}).get("msg_id") != asked:
            continue
        if heard["msg_type"] == "stream":
            print(heard["content"]["text"], end="")
        if heard["msg_type"] == "error":
            sys.exit("\n".join(heard["content"]["traceback"]))
        if heard["msg_type"] == "status" and heard["content"]["execution_state"] == "idle":
            return


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    {"start": start, "run": run}[command](*rest)
