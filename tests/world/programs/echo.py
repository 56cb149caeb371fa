"""An echo over TCP on loopback for thousands of visitors at once: echo.py PORT"""

import asyncio
import sys


async def echo(reader, writer):
    try:
        while data := await reader.read(4096):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(echo, "127.0.0.1", int(sys.argv[1]), backlog=1024)
    print("serving", flush=True)
    await server.serve_forever()


asyncio.run(main())
