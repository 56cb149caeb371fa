//! Host names and their addresses. The system's look-up (getaddrinfo(3)) holds a thread for as long as a name server
//! stays silent, and an agent dials several times a second: so few look-ups of a name run at once, however many wait
//! for their answer. And what a name meant last is tried while nobody can say: who answers there has to prove its key.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

type LookUp = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;
type Answer = Option<Result<Vec<IpAddr>, Arc<io::Error>>>;

/// Cheap to clone; all clones share what they know.
#[derive(Clone)]
pub struct Names {
    entries: Arc<Mutex<HashMap<String, Entry>>>,
    look_up: Arc<LookUp>,
}

struct Entry {
    running: usize,
    started: Instant,
    known: Vec<IpAddr>,
    answer: watch::Sender<Answer>,
}

/// One that runs may wait for a server that is back meanwhile, until its retransmission: another one is started beside
/// it after this…
const AGAIN: Duration = Duration::from_secs(1);
/// …as long as there are fewer. One gives up by itself after 10 s or so (resolv.conf(5)).
const MAX_RUNNING: usize = 12;
const LIMIT: Duration = Duration::from_secs(5);
/// What a name meant last is tried after this without an answer.
const OLD_NEWS: Duration = Duration::from_millis(100);
const MAX_NAMES: usize = 64;

impl Default for Names {
    fn default() -> Self {
        Self::with(|name| Ok((name, 0).to_socket_addrs()?.map(|address| address.ip()).collect()))
    }
}

impl fmt::Debug for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Names").finish_non_exhaustive()
    }
}

impl Names {
    fn with(look_up: impl Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync + 'static) -> Self {
        Self { entries: Arc::default(), look_up: Arc::new(look_up) }
    }

    /// The addresses of a host, which may be one itself.
    pub(crate) async fn addresses(&self, host: &str) -> io::Result<Vec<IpAddr>> {
        if let Ok(ip) = host.parse() {
            return Ok(vec![ip]);
        }
        let (mut answer, known) = self.ask(host)?;
        let patience = if known.is_empty() { LIMIT } else { OLD_NEWS };
        let answered = matches!(timeout(patience, answer.changed()).await, Ok(Ok(())));
        let answer = if answered { answer.borrow().clone() } else { None };
        match answer {
            Some(Ok(addresses)) => Ok(addresses),
            Some(Err(_)) | None if !known.is_empty() => Ok(known),
            Some(Err(error)) => Err(io::Error::new(error.kind(), error)),
            None => Err(io::Error::new(io::ErrorKind::TimedOut, "no name server answers")),
        }
    }

    /// Sees to it that a look-up runs. What the name meant last comes with where the answer will be.
    fn ask(&self, name: &str) -> io::Result<(watch::Receiver<Answer>, Vec<IpAddr>)> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() >= MAX_NAMES && !entries.contains_key(name) {
            entries.retain(|_, entry| entry.running > 0);
        }
        let entry = entries.entry(name.to_owned()).or_insert_with(Entry::new);
        let wanted = (entry.answer.subscribe(), entry.known.clone());
        if entry.running == 0 || (entry.running < MAX_RUNNING && entry.started.elapsed() >= AGAIN) {
            let (names, asked) = (self.clone(), name.to_owned());
            // A thread of its own: it ends by itself, and a process that stops does not wait for it.
            std::thread::Builder::new().name("look-up".to_owned()).spawn(move || {
                let found = (names.look_up)(&asked);
                names.tell(&asked, found);
            })?;
            (entry.running, entry.started) = (entry.running + 1, Instant::now());
        }
        Ok(wanted)
    }

    fn tell(&self, name: &str, found: io::Result<Vec<IpAddr>>) {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(entry) = entries.get_mut(name) else { return };
        entry.running -= 1;
        if let Ok(addresses) = &found {
            entry.known.clone_from(addresses);
        }
        entry.answer.send_replace(Some(found.map_err(Arc::new)));
    }
}

impl Entry {
    fn new() -> Self {
        Self { running: 0, started: Instant::now(), known: Vec::new(), answer: watch::Sender::default() }
    }
}

/// The two families in turn, IPv6 first (RFC 8305, section 4).
pub(crate) fn in_turn(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let (six, four): (Vec<_>, Vec<_>) = addresses.into_iter().partition(IpAddr::is_ipv6);
    let (mut six, mut four) = (six.into_iter(), four.into_iter());
    let mut ordered = Vec::new();
    loop {
        let before = ordered.len();
        ordered.extend(six.next());
        ordered.extend(four.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;

    const FIRST: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
    const SECOND: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2));

    /// A name server that answers when it is told to, and how often it was asked.
    fn server() -> (Names, mpsc::Sender<io::Result<Vec<IpAddr>>>, Arc<AtomicUsize>) {
        let (answers, to_give) = mpsc::channel();
        let (to_give, asked) = (Mutex::new(to_give), Arc::new(AtomicUsize::new(0)));
        let count = asked.clone();
        let names = Names::with(move |_| {
            count.fetch_add(1, Ordering::SeqCst);
            let answer = to_give.lock().unwrap().recv();
            answer.unwrap_or(Err(io::ErrorKind::Interrupted.into()))
        });
        (names, answers, asked)
    }

    #[tokio::test]
    async fn many_who_ask_share_one_look_up() {
        let (names, answers, asked) = server();
        let asking = join_all((0..100).map(|_| names.addresses("gw.example.org")));
        let answering = async { answers.send(Ok(vec![FIRST])).unwrap() };
        let (told, ()) = tokio::join!(asking, answering);
        assert!(told.into_iter().all(|told| told.unwrap() == [FIRST]));
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_name_server_holds_few_threads_and_its_first_answer_serves_all() {
        let (names, answers, asked) = server();
        for _ in 0..MAX_RUNNING + 6 {
            let error = names.addresses("gw.example.org").await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        }
        let entered = || names.entries.lock().unwrap().get("gw.example.org").unwrap().running;
        assert_eq!(entered(), MAX_RUNNING);
        assert!(asked.load(Ordering::SeqCst) <= MAX_RUNNING);
        // The answer comes from a thread, which needs time that passes.
        tokio::time::resume();
        let (told, ()) = tokio::join!(names.addresses("gw.example.org"), async {
            answers.send(Ok(vec![FIRST])).unwrap();
        });
        assert_eq!(told.unwrap(), [FIRST]);
    }

    #[tokio::test]
    async fn what_a_name_meant_last_serves_until_somebody_says_otherwise() {
        let (names, answers, _) = server();
        answers.send(Ok(vec![FIRST])).unwrap();
        assert_eq!(names.addresses("gw.example.org").await.unwrap(), [FIRST]);
        assert_eq!(names.addresses("gw.example.org").await.unwrap(), [FIRST], "the server is silent");
        answers.send(Err(io::ErrorKind::NotFound.into())).unwrap();
        assert_eq!(names.addresses("gw.example.org").await.unwrap(), [FIRST], "the server is confused");
        answers.send(Ok(vec![SECOND])).unwrap();
        // The answer may be to the look-up that was given up above, or to the next.
        while names.addresses("gw.example.org").await.unwrap() != [SECOND] {
            let _ = answers.send(Ok(vec![SECOND]));
        }
    }

    #[tokio::test]
    async fn a_name_that_nobody_knows_is_an_error_and_an_address_needs_no_server() {
        let (names, answers, asked) = server();
        assert_eq!(names.addresses("192.0.2.1").await.unwrap(), [FIRST]);
        assert_eq!(asked.load(Ordering::SeqCst), 0);
        answers.send(Err(io::ErrorKind::NotFound.into())).unwrap();
        assert_eq!(names.addresses("gw.example.org").await.unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn the_families_take_turns() {
        let parse = |text: &str| text.split(' ').map(|ip| ip.parse().unwrap()).collect::<Vec<IpAddr>>();
        assert_eq!(in_turn(parse("192.0.2.1 192.0.2.2 2001:db8::1")), parse("2001:db8::1 192.0.2.1 192.0.2.2"));
    }
}
