"""A visitor without patience: every PERIOD a new request for the page, a new TCP connection, one more packet of a UDP flow.

poll.py GATEWAY PAGE_HOST TCP_PORT UDP_PORT

Prints "page|tcp|udp BEGUN SERVED" for each one that was served: times of day, in seconds.
"""

import asyncio
import sys
import time

PERIOD = 0.05
PATIENCE = 5

gateway, page_host, tcp_port, udp_port = sys.argv[1:]


async def ask(port, request, answer):
    reader, writer = await asyncio.open_connection(gateway, port)
    try:
        writer.write(request)
        received = b""
        while answer not in received:
            data = await reader.read(4096)
            if not data:
                raise ConnectionError("ended early")
            received += data
    finally:
        writer.transport.abort()


async def attempt(kind, *what):
    begun = time.time()
    try:
        await asyncio.wait_for(ask(*what), PATIENCE)
        print(kind, begun, time.time(), flush=True)
    except (OSError, asyncio.TimeoutError):
        pass


class Flow(asyncio.DatagramProtocol):
    def datagram_received(self, data, _):
        print("udp", data.decode(), time.time(), flush=True)


async def main():
    loop = asyncio.get_running_loop()
    flow, _ = await loop.create_datagram_endpoint(Flow, remote_addr=(gateway, int(udp_port)))
    page = f"GET / HTTP/1.1\r\nHost: {page_host}\r\nConnection: close\r\n\r\n".encode()
    attempts = set()
    while True:
        for each in (("page", 80, page, b"the page of the device"), ("tcp", int(tcp_port), b"hello", b"hello")):
            task = asyncio.create_task(attempt(*each))
            attempts.add(task)
            task.add_done_callback(attempts.discard)
        flow.sendto(repr(time.time()).encode())
        await asyncio.sleep(PERIOD)


asyncio.run(main())
