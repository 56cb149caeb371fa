"""Everything that a client may ask of an SSH server, in the words of the protocol; prints what is granted."""

import socket
import struct
import sys
import threading

import paramiko

PATIENCE = 10
REQUEST, OPEN, CHANNEL_REQUEST = 80, 90, 98


def string(text):
    text = text if isinstance(text, bytes) else text.encode()
    return number(len(text)) + text


def number(value):
    return struct.pack(">I", value)


def message(kind, *parts):
    made = paramiko.Message()
    made.add_byte(bytes([kind]))
    for part in parts:
        made.packet.write(part)
    return made


def say(what, is_granted):
    print(what, "yes" if is_granted else "no", flush=True)


def ask_session(name, *parts):
    channel = transport.open_session(timeout=PATIENCE)
    channel.event.clear()
    channel.event_ready = False
    transport._send_user_message(message(CHANNEL_REQUEST, number(channel.remote_chanid), string(name), b"\1", *parts))
    # What is refused closes the channel, in paramiko.
    channel.event.wait(PATIENCE)
    say("session: " + name, channel.event_ready)
    channel.close()


def ask_channel(shown, kind, *parts):
    with transport.lock:
        here = transport._next_channel()
        channel = paramiko.Channel(here)
        channel._set_transport(transport)
        channel._set_window(65536, 32768)
        transport._channels.put(here, channel)
        transport.channel_events[here] = event = threading.Event()
        transport.channels_seen[here] = True
    transport._send_user_message(message(OPEN, string(kind), number(here), number(65536), number(32768), *parts))
    is_answered = event.wait(PATIENCE)
    say("channel: " + shown, not is_answered or transport._channels.get(here) is not None)


def ask_globally(name, *parts):
    transport.completion_event = threading.Event()
    transport._send_user_message(message(REQUEST, string(name), b"\1", *parts))
    is_answered = transport.completion_event.wait(PATIENCE)
    say("global: " + name, not is_answered or transport.global_response is not None)


port, key, user, listening = int(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
transport = paramiko.Transport(("127.0.0.1", port))
transport.start_client(timeout=PATIENCE)
transport.auth_publickey(user, paramiko.Ed25519Key.from_private_key_file(key))

ask_session("auth-agent-req@openssh.com")
ask_session("x11-req", b"\0", string("MIT-MAGIC-COOKIE-1"), string("00" * 16), number(0))
for name in ["sftp", "netconf", "/bin/sh"]:
    ask_session("subsystem", string(name))
for name in ["PATH", "LD_PRELOAD", "LANG"]:
    ask_session("env", string(name), string("x"))
ask_session("break", number(500))
ask_session("nothing@example.org", b"x" * 1000)

there = string("127.0.0.1") + number(22)
from_here = string("127.0.0.1") + number(1)
ask_channel("x11", "x11", from_here)
ask_channel("agent", "auth-agent@openssh.com")
ask_channel("forwarded-tcpip", "forwarded-tcpip", there, from_here)
ask_channel("direct-streamlocal", "direct-streamlocal@openssh.com", string("/run/docker.sock"), string(""), number(0))
ask_channel("forwarded-streamlocal", "forwarded-streamlocal@openssh.com", string("/tmp/x"), string(""))
ask_channel("tun", "tun@openssh.com", number(1), number(0))
ask_channel("nothing", "nothing@example.org", b"x" * 1000)
hosts = [
    "127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0.0.0.0", "0", "localhost", "LocalHost",
    "localhost.", "localhost.localdomain", "ip6-localhost", "::1", "[::1]", "::", "::ffff:127.0.0.1",
    "::ffff:7f00:1", "", "*", "gw.test", "169.254.169.254", "metadata.google.internal", "10.0.0.1", "192.168.0.1",
    "fe80::1%lo", "/run/docker.sock", "127.0.0.1\0.zumi01", "zumi01\0",
]
for host in hosts:
    ask_channel("direct-tcpip to " + repr(host), "direct-tcpip", string(host), number(listening), from_here)
ask_channel("direct-tcpip to this machine", "direct-tcpip", string(socket.gethostname()), number(listening), from_here)
ask_channel("direct-tcpip to 10000 letters", "direct-tcpip", string("a" * 10000), number(listening), from_here)

ask_globally("streamlocal-forward@openssh.com", string("/tmp/x"))
ask_globally("cancel-streamlocal-forward@openssh.com", string("/tmp/x"))
ask_globally("cancel-tcpip-forward", string("nothing"), number(80))
ask_globally("hostkeys-prove-00@openssh.com", string("x"))
ask_globally("no-more-sessions@openssh.com")
ask_globally("nothing@example.org", b"x" * 1000)

channel = transport.open_session(timeout=PATIENCE)
channel.exec_command("cat /etc/passwd #" + "x" * 20000)
print("command:", channel.recv(1000).decode().strip(), channel.recv_exit_status())
channel = transport.open_session(timeout=PATIENCE)
channel.invoke_shell()
print("shell:", channel.recv(1000).decode().splitlines()[0], channel.recv_exit_status())
