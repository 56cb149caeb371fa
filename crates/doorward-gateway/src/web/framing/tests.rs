use super::*;

/// What is let on of these bytes when they come in pieces, and why the rest is not.
fn pass(bytes: &[u8], piece: usize) -> (Vec<u8>, Framing, Option<Refusal>) {
    let (mut framing, mut passed, mut held) = (Framing::default(), Vec::new(), Vec::new());
    for piece in bytes.chunks(piece) {
        held.extend_from_slice(piece);
        loop {
            match framing.scan(&held) {
                Ok(0) => break,
                Ok(length) => passed.extend(held.drain(..length)),
                Err(refusal) => return (passed, framing, Some(refusal)),
            }
        }
    }
    (passed, framing, None)
}

/// The same, whatever the pieces.
fn pass_in_any_pieces(bytes: &[u8]) -> (Vec<u8>, Framing, Option<Refusal>) {
    let whole = pass(bytes, bytes.len().max(1));
    for piece in [1, 2, 3, 7, 64] {
        let (passed, framing, refusal) = pass(bytes, piece);
        assert_eq!((&passed, refusal), (&whole.0, whole.2), "in pieces of {piece}");
        assert_eq!(framing.phase(), whole.1.phase(), "in pieces of {piece}");
    }
    whole
}

fn refusal(text: &str) -> Option<Refusal> {
    let (passed, _, refusal) = pass_in_any_pieces(text.as_bytes());
    if refusal.is_some() {
        assert_eq!(passed, b"", "nothing of a head that is refused is let on");
    }
    refusal
}

const HEAD: &str = "POST /a HTTP/1.1\r\nHost: a\r\n";

#[test]
fn ordinary_messages_pass_unchanged_one_after_the_other() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\nX-Empty:\r\nX-Raw: caf\u{e9}\tx \r\n\r\n\
                POST /b?c=d|e HTTP/1.1\r\nHOST:a:8080\r\ncontent-length: 5\r\n\r\nhello\
                \r\nPUT http://a/ HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nTrailer: x\r\n\r\n\
                5\r\nhello\r\n00a;name=\"value\"\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n\
                OPTIONS * HTTP/1.0\r\n\r\nHEAD / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n";
    let (passed, framing, refusal) = pass_in_any_pieces(text.as_bytes());
    assert_eq!((String::from_utf8(passed).unwrap().as_str(), refusal), (text, None));
    assert_eq!((framing.requests(), framing.phase()), (5, Phase::Quiet));
}

#[test]
fn a_head_that_can_be_read_in_two_ways_is_refused() {
    let table = [
        (Refusal::LengthAndCoding, "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"),
        (Refusal::LengthAndCoding, "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"),
        (Refusal::SeveralLengths, "Content-Length: 1\r\ncontent-length: 1\r\n"),
        (Refusal::Length, "Content-Length: 1, 1\r\n"),
        (Refusal::Length, "Content-Length: +1\r\n"),
        (Refusal::Length, "Content-Length: -1\r\n"),
        (Refusal::Length, "Content-Length: 0x1\r\n"),
        (Refusal::Length, "Content-Length: 1 1\r\n"),
        (Refusal::Length, "Content-Length:\r\n"),
        (Refusal::Length, "Content-Length: 18446744073709551617\r\n"),
        (Refusal::Coding, "Transfer-Encoding: gzip, chunked\r\n"),
        (Refusal::Coding, "Transfer-Encoding: chunked, chunked\r\n"),
        (Refusal::Coding, "Transfer-Encoding: chunked, identity\r\n"),
        (Refusal::Coding, "Transfer-Encoding:\r\n chunked\r\n"),
        (Refusal::Coding, "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"),
        (Refusal::Coding, "Transfer-Encoding: identity\r\n"),
        (Refusal::Coding, "Transfer-Encoding: xchunked\r\n"),
        (Refusal::Coding, "Transfer-Encoding: \"chunked\"\r\n"),
        (Refusal::Coding, "Transfer-Encoding: chunked;q=1\r\n"),
        (Refusal::Coding, "Transfer-Encoding:\r\n"),
        (Refusal::HeaderName, "Transfer-Encoding : chunked\r\n"),
        (Refusal::HeaderName, "Transfer-Encoding\t: chunked\r\n"),
        (Refusal::HeaderName, "Transfer_Encoding: chunked\r\n"),
        (Refusal::HeaderName, "Content_Length: 1\r\n"),
        (Refusal::HeaderName, ": x\r\n"),
        (Refusal::HeaderName, "no colon\r\n"),
        (Refusal::HeaderName, "X\u{e9}: x\r\n"),
        (Refusal::FoldedLine, "X: a\r\n b\r\n"),
        (Refusal::FoldedLine, "X: a\r\n\tTransfer-Encoding: chunked\r\n"),
        (Refusal::BareLineFeed, "X: a\nY: b\r\n"),
        (Refusal::BareCarriageReturn, "X: a\rY: b\r\n"),
        (Refusal::BareCarriageReturn, "X: a\r\r\n"),
        (Refusal::ControlCharacter, "X: a\0b\r\n"),
        (Refusal::ControlCharacter, "X: a\u{b}b\r\n"),
        (Refusal::ControlCharacter, "X: a\u{7f}b\r\n"),
        (Refusal::ControlCharacter, "Transfer-Encoding: \u{1}chunked\r\n"),
        (Refusal::SeveralHosts, "Host: a\r\n"),
        (Refusal::SeveralHosts, "host: b\r\n"),
        (Refusal::Expectation, "Expect: y 100-continue\r\n"),
    ];
    for (expected, lines) in table {
        assert_eq!(refusal(&format!("{HEAD}{lines}\r\n")), Some(expected), "{lines:?}");
    }
    assert_eq!(refusal(&format!("{HEAD}\r\n")), None);
}

#[test]
fn a_first_line_is_a_method_a_target_and_a_version_with_a_space_between() {
    let table = [
        (Refusal::RequestLine, "GET / HTTP/1.1 x"),
        (Refusal::RequestLine, "GET  / HTTP/1.1"),
        (Refusal::RequestLine, " GET / HTTP/1.1"),
        (Refusal::RequestLine, "GET /"),
        (Refusal::RequestLine, "GET / HTPP/1.1"),
        (Refusal::RequestLine, "G(T / HTTP/1.1"),
        (Refusal::Version, "GET / HTTP/0.9"),
        (Refusal::Version, "GET / HTTP/1.2"),
        (Refusal::Version, "GET / HTTP/1.10"),
        (Refusal::Version, "GET / HTTP/2.0"),
        (Refusal::Method, "CONNECT a:80 HTTP/1.1"),
        (Refusal::Target, "GET * HTTP/1.1"),
        (Refusal::Target, "GET a HTTP/1.1"),
        (Refusal::Target, "GET /a#b HTTP/1.1"),
        (Refusal::Target, "GET ftp://a/ HTTP/1.1"),
        (Refusal::Target, "GET /caf\u{e9} HTTP/1.1"),
        (Refusal::ControlCharacter, "GET\t/\tHTTP/1.1\u{1}"),
        (Refusal::RequestLine, "\r\n\r\nGET / HTTP/1.1"),
    ];
    for (expected, line) in table {
        assert_eq!(refusal(&format!("{line}\r\nHost: a\r\n\r\n")), Some(expected), "{line:?}");
    }
    assert_eq!(refusal("GET / HTTP/1.1\r\n\r\n"), Some(Refusal::NoHost));
    assert_eq!(refusal("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n"), Some(Refusal::CodingInOldVersion));
    assert_eq!(refusal("GET / HTTP/1.1\nHost: a\n\n"), Some(Refusal::BareLineFeed));
}

#[test]
fn chunks_are_what_they_say_or_the_body_breaks() {
    let table = [
        (Refusal::ChunkSize, "\r\n"),
        (Refusal::ChunkSize, "g\r\n"),
        (Refusal::ChunkSize, "+1\r\na\r\n"),
        (Refusal::ChunkSize, "0x1\r\na\r\n"),
        (Refusal::ChunkSize, "1 \r\na\r\n"),
        (Refusal::ChunkSize, " 1\r\na\r\n"),
        (Refusal::ChunkSize, "1\na\r\n"),
        (Refusal::ChunkSize, "fffffffffffffffff\r\n"),
        (Refusal::ChunkSize, "0000000000000000\r\n"),
        (Refusal::ChunkExtension, "1;a\n\r\n"),
        (Refusal::ChunkExtension, "1;a\u{1}\r\n"),
        (Refusal::BareCarriageReturn, "1\ra\r\n"),
        (Refusal::BareCarriageReturn, "1;a\rb\r\n"),
        (Refusal::ChunkEnd, "1\r\nab\r\n"),
        (Refusal::ChunkEnd, "1\r\na\n"),
        (Refusal::ChunkEnd, "1\r\na\r\r\n"),
        (Refusal::Trailer, "0\r\nContent-Length: 1\r\n\r\n"),
        (Refusal::Trailer, "0\r\nHost: b\r\n\r\n"),
        (Refusal::Trailer, "0\r\nTransfer-Encoding: chunked\r\n\r\n"),
        (Refusal::HeaderName, "0\r\nGET / HTTP/1.1\r\n\r\n"),
        (Refusal::FoldedLine, "0\r\n X: a\r\n\r\n"),
        (Refusal::BareLineFeed, "0\r\nX: a\n\r\n"),
    ];
    for (expected, body) in table {
        let text = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{body}");
        let (_, framing, refusal) = pass_in_any_pieces(text.as_bytes());
        assert_eq!(refusal, Some(expected), "{body:?}");
        assert_eq!(framing.phase(), Phase::Refused { in_body: true }, "{body:?}");
    }
    let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(300));
    let many = format!("{}0\r\n\r\n", format!("1;{}\r\na\r\n", "x".repeat(200)).repeat(30));
    for body in [long, many] {
        let text = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n{body}");
        assert_eq!(pass_in_any_pieces(text.as_bytes()).2, Some(Refusal::ChunkExtension));
    }
}

/// To RFC 9112 a quoted value may not hold a line's end either; who ends the line there reads the same chunk.
#[test]
fn a_chunk_extension_ends_with_its_line_whatever_quotes_say() {
    let text = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n1;a=\"\r\nb\r\n0;\"\r\n\r\nGET");
    let (passed, framing, refusal) = pass_in_any_pieces(text.as_bytes());
    assert_eq!((passed.len(), framing.phase(), refusal), (text.len() - 3, Phase::Head, None));
}

#[test]
fn trailers_are_held_until_they_are_whole() {
    let text = format!("{HEAD}Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n");
    let (passed, framing, _) = pass_in_any_pieces(format!("{text}X: a\r\nY:").as_bytes());
    assert_eq!((passed, framing.phase()), (text.into_bytes(), Phase::Head));
}

#[test]
fn a_head_has_its_limits() {
    let long = |length| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length));
    let room = MAX_HEAD - long(0).len();
    let pieces = |text: &str| pass(text.as_bytes(), 1000).2;
    assert_eq!(pieces(&long(room)), None);
    assert_eq!(pieces(&long(room + 1)), Some(Refusal::HeadTooLarge));
    assert_eq!(pieces(&"x".repeat(MAX_HEAD + 1)), Some(Refusal::HeadTooLarge), "a line without an end");
    let many = |count| format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: a\r\n".repeat(count));
    assert_eq!(pieces(&many(MAX_HEADERS - 1)), None);
    assert_eq!(pieces(&many(MAX_HEADERS)), Some(Refusal::TooManyHeaders));
}

#[test]
fn what_came_before_a_refusal_passes() {
    let good = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let (passed, _, refusal) = pass_in_any_pieces(format!("{good}GET / HTTP/1.1\r\n\r\n{good}").as_bytes());
    assert_eq!((passed.as_slice(), refusal), (good.as_bytes(), Some(Refusal::NoHost)));
}

#[test]
fn bytes_behind_a_request_to_switch_wait_for_its_answer() {
    let asking = "POST / HTTP/1.1\r\nHost: a\r\nConnection: x, Upgrade\r\nUpgrade: x\r\nContent-Length: 1\r\n\r\na";
    let behind = "GET /smuggled HTTP/1.1\r\n\r\n";
    let (passed, mut framing, _) = pass_in_any_pieces(format!("{asking}{behind}").as_bytes());
    assert_eq!((passed.as_slice(), framing.phase()), (asking.as_bytes(), Phase::Asked));
    framing.answered(true);
    assert_eq!(framing.scan(b"\0\r\n"), Ok(3), "another protocol");

    let (_, mut framing, _) = pass_in_any_pieces(format!("{asking}{behind}").as_bytes());
    framing.answered(false);
    assert_eq!(framing.scan(behind.as_bytes()), Err(Refusal::NoHost), "still HTTP");

    for stays in ["Upgrade: x\r\n", "Connection: upgrade\r\n", "Connection: close\r\nUpgrade: x\r\n"] {
        assert_eq!(pass_in_any_pieces(format!("{HEAD}{stays}\r\n").as_bytes()).1.phase(), Phase::Quiet);
    }
}

#[test]
fn http_2_passes_if_the_connection_begins_with_it() {
    let (passed, framing, _) = pass_in_any_pieces(&[PREFACE, b"\0\0\0\x04"].concat());
    assert_eq!((passed.len(), framing.phase()), (PREFACE.len() + 4, Phase::Http2));
    assert_eq!(pass_in_any_pieces(&PREFACE[..20]).0, b"", "not before it is sure");
    let later = ["GET / HTTP/1.1\r\nHost: a\r\n\r\n".as_bytes(), PREFACE].concat();
    assert_eq!(pass_in_any_pieces(&later).2, Some(Refusal::Version));
}
