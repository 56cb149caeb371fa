"""A gRPC service, with the library that most programs in Python use. Messages are bytes; no generated code is needed."""

import sys
import threading
import time
from concurrent import futures

import grpc

PORT = int(sys.argv[1])


def unary(request, context):
    context.send_initial_metadata((("x-peer-host", dict(context.invocation_metadata()).get("x-forwarded-host", "")),))
    return request.upper()


def count(request, _context):
    for n in range(int(request)):
        yield str(n).encode()


def add(requests, _context):
    return str(sum(int(request) for request in requests)).encode()


def echo(requests, context):
    for n, request in enumerate(requests):
        yield request
    context.set_trailing_metadata((("x-count", str(n + 1)),))


def missing(_request, context):
    context.set_trailing_metadata((("x-detail-bin", b"\x00\xff"),))
    context.abort(grpc.StatusCode.NOT_FOUND, "kein Drucker: Küche")


def wait(request, context):
    """Says one word and then nothing until its caller is gone."""
    over = threading.Event()
    context.add_callback(over.set)
    yield b"begun"
    began = time.monotonic()
    if over.wait(30):
        print(f"{request.decode()} ended after {time.monotonic() - began:.3f}", flush=True)


def large(request, _context):
    for _ in range(int(request)):
        yield bytes(1024 * 1024)


HANDLERS = {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Add": grpc.stream_unary_rpc_method_handler(add),
    "Echo": grpc.stream_stream_rpc_method_handler(echo),
    "Missing": grpc.unary_unary_rpc_method_handler(missing),
    "Wait": grpc.unary_stream_rpc_method_handler(wait),
    "Large": grpc.unary_stream_rpc_method_handler(large),
}

server = grpc.server(futures.ThreadPoolExecutor(16))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("lab.Calls", HANDLERS),))
server.add_insecure_port(f"127.0.0.1:{PORT}")
server.start()
print("serving", flush=True)
server.wait_for_termination()
