"""A visitor of the gRPC service in calls.py, through a gateway, over TLS. Prints a line for each thing that holds."""

import queue
import ssl
import sys
import time

import grpc

HOST = sys.argv[1]
WHAT = sys.argv[2]

roots = ssl.get_server_certificate((HOST, 443)).encode()
channel = grpc.secure_channel(f"{HOST}:443", grpc.ssl_channel_credentials(roots))
method = lambda kind, name: getattr(channel, kind)(f"/lab.Calls/{name}")
LIMIT = 20


def all_kinds():
    answer, call = method("unary_unary", "Unary").with_call(b"hello", timeout=LIMIT)
    assert answer == b"HELLO", answer
    assert dict(call.initial_metadata())["x-peer-host"] == f"{HOST}:443", call.initial_metadata()
    print("unary")

    assert list(method("unary_stream", "Count")(b"1000", timeout=LIMIT)) == [str(n).encode() for n in range(1000)]
    print("server streaming")

    assert method("stream_unary", "Add")((str(n).encode() for n in range(1000)), timeout=LIMIT) == b"499500"
    print("client streaming")

    said = queue.Queue()
    call = method("stream_stream", "Echo")(iter(said.get, None), timeout=LIMIT)
    for n in range(20):
        said.put(b"%d" % n)
        assert next(call) == b"%d" % n
    said.put(None)
    assert list(call) == [] and dict(call.trailing_metadata())["x-count"] == "20", call.trailing_metadata()
    print("both ways, each answer before the next word")

    size = sum(len(piece) for piece in method("unary_stream", "Large")(b"64", timeout=60))
    assert size == 64 * 1024 * 1024, size
    print("64 MiB")

    failed = failure(lambda: method("unary_unary", "Missing")(b"", timeout=LIMIT))
    assert failed.code() == grpc.StatusCode.NOT_FOUND and failed.details() == "kein Drucker: Küche", failed
    assert dict(failed.trailing_metadata())["x-detail-bin"] == b"\x00\xff", failed.trailing_metadata()
    print("an error with its trailers")

    failed = failure(lambda: method("unary_unary", "Unknown")(b"", timeout=LIMIT))
    assert failed.code() == grpc.StatusCode.UNIMPLEMENTED, failed
    print("an unknown method")

    call = method("unary_stream", "Wait")(b"cancelled")
    assert next(call) == b"begun"
    call.cancel()
    failed = failure(lambda: next(call))
    assert failed.code() == grpc.StatusCode.CANCELLED, failed
    print("cancelled")

    call = method("unary_stream", "Wait")(b"deadline", timeout=1)
    assert next(call) == b"begun"
    failed = failure(lambda: next(call))
    assert failed.code() == grpc.StatusCode.DEADLINE_EXCEEDED, failed
    print("a deadline")

    call = method("unary_stream", "Wait")(b"left")
    assert next(call) == b"begun"
    channel.close()
    print("left")


def failure(calling):
    try:
        return AssertionError(f"it did not fail: {calling()}")
    except grpc.RpcError as error:
        return error


def ask():
    try:
        print(method("unary_unary", "Unary")(b"hello", timeout=LIMIT).decode())
    except grpc.RpcError as error:
        print(f"{error.code().name}: {error.details()}")


def long():
    """One call that says something, is silent for longer than anybody may hold an upload up, and is still there."""
    said = queue.Queue()
    call = method("stream_stream", "Echo")(iter(said.get, None))
    for pause in (0, 15, 0):
        time.sleep(pause)
        said.put(b"still there?")
        assert next(call) == b"still there?"
    print("a silent call")


{"all": all_kinds, "ask": ask, "long": long}[WHAT]()
