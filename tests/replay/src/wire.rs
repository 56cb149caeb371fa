//! Bytes of a peer: frames, messages, lanes, datagrams. Each is read a second time by a plain loop over the whole
//! slice, and the two have to agree.

use crate::script::{Script, now};
use bytes::Bytes;
use doorward_tunnel::fuzzing;
use doorward_tunnel::messages::{Message, lane_kind};
use doorward_tunnel::wire::{self, DATA_LIMIT, Frame, HEADER, STRANGER_LIMIT, WireError, parse_header};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// `kind │ payload`: what decodes means the same after it was encoded again.
pub fn message_decode(data: &[u8]) {
    let Some((&kind, payload)) = data.split_first() else { return };
    let frame = Frame { kind, payload: Bytes::copy_from_slice(payload) };
    let Ok(message) = Message::decode(&frame) else { return };
    assert_eq!(message.kind(), kind);
    let encoded = message.encode();
    let mut reader = &encoded[..];
    let again = now(wire::read_frame(&mut reader, usize::MAX)).expect("our own frames are readable");
    let again = again.expect("one message is one frame");
    assert!(reader.is_empty(), "one message is one frame");
    assert_eq!(Message::decode(&again).expect("our own messages are readable"), message);
}

/// `piece │ bytes`: frame after frame until an end or an error.
pub fn read_frame(data: &[u8]) {
    let Some((&piece, bytes)) = data.split_first() else { return };
    let mut reader = Script::new(bytes, piece.into());
    let mut rest = bytes;
    loop {
        let read = now(wire::read_frame(&mut reader, STRANGER_LIMIT));
        let Some((head, body)) = rest.split_first_chunk::<HEADER>() else {
            match read {
                Ok(None) => assert!(rest.is_empty(), "an end inside a header is no end"),
                Err(WireError::Truncated) => assert!(!rest.is_empty(), "an end between frames is an end"),
                other => panic!("{} bytes are left and gave {other:?}", rest.len()),
            }
            return;
        };
        let (kind, length) = parse_header(*head);
        match read {
            Ok(Some(frame)) => {
                assert_eq!((frame.kind, &frame.payload[..]), (kind, &body[..length]));
                assert!(length <= STRANGER_LIMIT);
                assert_eq!(wire::frame(kind, &frame.payload), rest[..HEADER + length]);
                rest = &body[length..];
            }
            Err(WireError::TooLong { .. }) => return assert!(length > STRANGER_LIMIT),
            Err(WireError::Truncated) => return assert!(body.len() < length),
            other => panic!("a header of {length} bytes gave {other:?}"),
        }
    }
}

/// `piece │ buffer │ bytes`: what a visitor gets to see of a lane, and what a lane carries comes out of it again.
pub fn lane_stream(data: &[u8]) {
    let Some(([piece, buffer], bytes)) = data.split_first_chunk() else { return };
    let (expected, is_end) = visible(bytes);
    let (seen, end) = read_all(bytes, (*piece).into(), usize::from(*buffer));
    assert_eq!(seen, expected);
    assert_eq!(end.is_ok(), is_end, "{end:?}");

    let script = Script::new(&[], (*piece).into());
    let heard = script.heard();
    let mut stream = fuzzing::lane_stream(script);
    now(async {
        stream.write_all(bytes).await?;
        stream.shutdown().await
    })
    .expect("a script takes everything");
    let (echoed, end) = read_all(&heard.bytes(), 1 + usize::from(*buffer), 1000);
    end.expect("a stream that was shut down has an end");
    assert_eq!(echoed, bytes);
}

fn read_all(bytes: &[u8], piece: usize, buffer: usize) -> (Vec<u8>, io::Result<()>) {
    let mut stream = fuzzing::lane_stream(Script::new(bytes, piece));
    let mut buffer = vec![0; buffer];
    let mut seen = Vec::new();
    // A read of nothing asks for nothing and breaks nothing.
    assert_eq!(now(stream.read(&mut [])).ok(), Some(0));
    if buffer.is_empty() {
        buffer.push(0);
    }
    loop {
        match now(stream.read(&mut buffer)) {
            Ok(0) => return (seen, Ok(())),
            Ok(n) => seen.extend_from_slice(&buffer[..n]),
            Err(error) => return (seen, Err(error)),
        }
    }
}

/// The data of a lane's frames, and whether they end with FIN.
fn visible(mut rest: &[u8]) -> (Vec<u8>, bool) {
    let mut data = Vec::new();
    while let Some((head, body)) = rest.split_first_chunk::<HEADER>() {
        match parse_header(*head) {
            (lane_kind::DATA, length) if length <= DATA_LIMIT => {
                let whole = length.min(body.len());
                data.extend_from_slice(&body[..whole]);
                rest = &body[whole..];
            }
            (kind, length) => return (data, kind == lane_kind::FIN && length == 0),
        }
    }
    (data, false)
}

/// A datagram reaches the flow of its number and no other; packets on a stream come out as they went in.
pub fn datagram(data: &[u8]) {
    match varint(data) {
        Some((number, rest)) => {
            assert_eq!(fuzzing::number_of(data), Some(number));
            assert_eq!(fuzzing::deliver(number, data).as_deref(), Some(rest));
            assert_eq!(fuzzing::deliver(number ^ 1, data), None);
            let shortest = fuzzing::numbered(number).expect("what was read can be written");
            assert!(shortest.len() <= data.len() - rest.len());
            assert_eq!(fuzzing::number_of(&shortest), Some(number));
        }
        None => {
            assert_eq!(fuzzing::number_of(data), None);
            assert_eq!(fuzzing::deliver(0, data), None);
        }
    }
    packets(data);
}

/// RFC 9000, A.1, as written there.
fn varint(data: &[u8]) -> Option<(u64, &[u8])> {
    let (&first, _) = data.split_first()?;
    let length = 1_usize << (first >> 6);
    let (encoded, rest) = data.split_at_checked(length)?;
    let mut value = u64::from(first & 0x3f);
    for &byte in &encoded[1..] {
        value = (value << 8) + u64::from(byte);
    }
    Some((value, rest))
}

fn packets(data: &[u8]) {
    let mut reader = Script::new(data, 7);
    let mut rest = data;
    loop {
        let read = now(fuzzing::read_packet(&mut reader));
        let Some((length, body)) = rest.split_first_chunk::<2>() else {
            assert!(matches!(read, Ok(None)), "{} bytes are left and gave {read:?}", rest.len());
            return;
        };
        let Some((packet, left)) = body.split_at_checked(u16::from_be_bytes(*length).into()) else {
            return assert!(read.is_err());
        };
        assert_eq!(read.ok().flatten().as_deref(), Some(packet));
        rest = left;
    }
}
