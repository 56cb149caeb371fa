//! A question to the router by UDP, asked again until it is answered or given up.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;
use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

/// RFC 6886, 3.1 doubles from 250 ms for a minute; who is silent for four seconds on a home network stays so.
const TURNS: [Duration; 4] =
    [Duration::from_millis(250), Duration::from_millis(500), Duration::from_millis(1000), Duration::from_millis(2000)];
/// Datagrams that are no answer, before nobody listens any more.
const MOST_STRAY: usize = 64;
/// More than any answer: what is cut off here is too long to be one.
const BUFFER: usize = 2048;

/// The first datagram that `read` understands. `None`: there was none, or nobody listens there.
///
/// The socket is connected: the kernel drops what comes from another address or port, and gives us an unforeseeable
/// port of our own.
pub(crate) async fn ask<T>(
    local: Ipv4Addr,
    router: SocketAddrV4,
    question: &[u8],
    mut read: impl FnMut(&[u8]) -> Option<T>,
) -> Option<T> {
    let socket = connect(local, router).await.ok()?;
    let mut buffer = vec![0; BUFFER];
    let mut stray = 0;
    for turn in TURNS {
        socket.send(question).await.ok()?;
        let end = Instant::now() + turn;
        // Late is no failure: it is asked again. A refusal is: nobody listens on that port.
        while let Ok(received) = timeout_at(end, socket.recv(&mut buffer)).await {
            let answer = read(&buffer[..received.ok()?]);
            if answer.is_some() {
                return answer;
            }
            stray += 1;
            if stray >= MOST_STRAY {
                return None;
            }
        }
    }
    None
}

async fn connect(local: Ipv4Addr, router: SocketAddrV4) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((local, 0)).await?;
    socket.connect(router).await?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;

    const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

    async fn bound() -> (UdpSocket, SocketAddrV4) {
        let socket = UdpSocket::bind((HERE, 0)).await.unwrap();
        let SocketAddr::V4(address) = socket.local_addr().unwrap() else { panic!("bound in IPv4") };
        (socket, address)
    }

    fn yes(bytes: &[u8]) -> Option<()> {
        (bytes == b"yes").then_some(())
    }

    #[tokio::test]
    async fn only_the_router_answers_and_only_to_the_question() {
        let (router, address) = bound().await;
        let (stranger, _) = bound().await;
        let routing = async {
            let mut buffer = [0; 16];
            let (_, asker) = router.recv_from(&mut buffer).await.unwrap();
            stranger.send_to(b"yes", asker).await.unwrap();
            router.send_to(b"no", asker).await.unwrap();
            router.send_to(&[b'y'; 4000], asker).await.unwrap();
            // Asked once more, since none of these was an answer.
            router.recv_from(&mut buffer).await.unwrap();
            router.send_to(b"yes", asker).await.unwrap();
        };
        let (answer, ()) = tokio::join!(ask(HERE, address, b"question", yes), routing);
        assert_eq!(answer, Some(()));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_given_up_after_four_questions() {
        let (router, address) = bound().await;
        assert_eq!(ask(HERE, address, b"question", yes).await, None);
        let mut buffer = [0; 16];
        for _ in TURNS {
            assert_eq!(router.try_recv(&mut buffer).unwrap(), 8);
        }
        assert!(router.try_recv(&mut buffer).is_err(), "asked once too often");
    }

    #[tokio::test]
    async fn where_nobody_listens_nothing_is_waited_for() {
        let (router, address) = bound().await;
        drop(router);
        let start = std::time::Instant::now();
        assert_eq!(ask(HERE, address, b"question", yes).await, None);
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
    }

    #[tokio::test]
    async fn a_flood_that_is_no_answer_ends_the_question() {
        let (router, address) = bound().await;
        let flood = async {
            let mut buffer = [0; 16];
            let (_, asker) = router.recv_from(&mut buffer).await.unwrap();
            loop {
                // The asker may be gone already.
                let _sent = router.send_to(b"no", asker).await;
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            answer = ask(HERE, address, b"question", yes) => assert_eq!(answer, None),
            () = flood => panic!("floods do not end"),
        }
    }
}
