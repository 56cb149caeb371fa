//! The whole crate against routers of our own on the loopback interface, friendly and hostile.

mod igd;
mod pcp_router;

use crate::report::{Report, State, Why};
use crate::route::{Network, Ports};
use crate::task::{PortMapper, Settings};
use crate::wish::{ExternalPort, Protocol, Sources, Way, Wish, Wishes};
use igd::{Igd, Manner};
use pcp_router::{Filters, PcpRouter};
use std::net::Ipv4Addr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::time::timeout;

const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
const EXTERNAL: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);
/// A search in vain and an exchange in vain, with room for a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn ledger(folder: &TempDir) -> PathBuf {
    folder.path().join("mappings.json")
}

/// Nobody listens there.
fn nowhere() -> u16 {
    std::net::UdpSocket::bind((HERE, 0)).unwrap().local_addr().unwrap().port()
}

async fn start(folder: &TempDir, mapping: u16, search: u16) -> PortMapper {
    let look = move || Ok(Network { router: HERE, local: HERE, ports: Ports { mapping, search } });
    let settings = Settings { check: Duration::from_secs(3600), ..Settings::new(ledger(folder)) };
    PortMapper::start_with(settings, Box::new(look)).await.unwrap()
}

fn one_wish(sources: Sources) -> Wishes {
    let internal_port = NonZeroU16::new(8000).unwrap();
    let external_port = ExternalPort::Prefer(NonZeroU16::new(40080).unwrap());
    let wish = Wish { protocol: Protocol::Tcp, internal_port, external_port, sources, ends: None };
    Wishes::from([("web".to_owned(), wish)])
}

async fn until(mapper: &PortMapper, is_so: impl Fn(&Report) -> bool) -> Report {
    let mut reports = mapper.reports();
    let waiting = reports.wait_for(|report| is_so(report));
    let found = timeout(PATIENCE, waiting).await.map(|report| report.unwrap().clone());
    found.unwrap_or_else(|_| panic!("it came to nothing: {:?}", mapper.reports().borrow().clone()))
}

/// Open, or why not.
async fn outcome(mapper: &PortMapper) -> State {
    let report = until(mapper, |report| !matches!(report.mappings.get("web"), None | Some(State::Asked))).await;
    report.mappings["web"].clone()
}

#[tokio::test]
async fn a_router_without_leases_never_keeps_a_mapping_that_the_ledger_does_not_know() {
    let folder = tempfile::tempdir().unwrap();
    let router = Igd::start(Manner::PermanentOnly, &ledger(&folder)).await;
    let mapper = start(&folder, nowhere(), router.search_port()).await;
    mapper.wish(one_wish(Sources::Anyone));
    let State::Open(open) = outcome(&mapper).await else { panic!("it is open") };
    assert_eq!((open.address, open.port, open.until, open.way), (EXTERNAL, 40080, None, Way::Upnp));
    assert_eq!(router.leases_asked(), [3600, 0]);
    assert!(router.was_written_before(), "asked of the router before it was on disk");
    // As by kill -9: nobody says farewell.
    drop(mapper);
    assert_eq!(router.mapped().len(), 1);
    let next = start(&folder, nowhere(), router.search_port()).await;
    until(&next, |report| report.leftovers == 0).await;
    assert!(router.mapped().is_empty(), "swept: {:?}", router.mapped());
    next.stop().await;
}

#[tokio::test]
async fn a_router_that_forgets_leases_in_silence_is_withdrawn_from_at_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let router = Igd::start(Manner::ForgetsLeases, &ledger(&folder)).await;
    let mapper = start(&folder, nowhere(), router.search_port()).await;
    mapper.wish(one_wish(Sources::Only(vec![Ipv4Addr::new(198, 51, 100, 10)])));
    let State::Open(open) = outcome(&mapper).await else { panic!("it is open") };
    assert_eq!((open.until, open.is_restricted), (None, true));
    assert_eq!(router.mapped(), ["TCP 40080 198.51.100.10 → 127.0.0.1:8000"]);
    assert!(std::fs::read_to_string(ledger(&folder)).unwrap().contains("\"permanent\": true"));
    mapper.stop().await;
    assert!(router.mapped().is_empty(), "{:?}", router.mapped());
}

#[tokio::test]
async fn a_mapping_of_somebody_else_is_neither_overwritten_nor_withdrawn() {
    let folder = tempfile::tempdir().unwrap();
    let router = Igd::start(Manner::Overwrites, &ledger(&folder)).await;
    router.belongs_to_another(40080);
    let mapper = start(&folder, nowhere(), router.search_port()).await;
    mapper.wish(one_wish(Sources::Anyone));
    let State::Open(open) = outcome(&mapper).await else { panic!("it is open") };
    assert_ne!(open.port, 40080);
    mapper.stop().await;
    assert_eq!(router.mapped(), ["TCP 40080  → 192.168.77.99:9000"]);
}

#[tokio::test]
async fn hostile_routers_get_nowhere_and_take_no_time() {
    for manner in Manner::HOSTILE {
        let folder = tempfile::tempdir().unwrap();
        let router = Igd::start(manner, &ledger(&folder)).await;
        let mapper = start(&folder, nowhere(), router.search_port()).await;
        let begun = Instant::now();
        mapper.wish(one_wish(Sources::Anyone));
        let state = outcome(&mapper).await;
        assert_eq!(state, State::Failed(Why::Silent), "{manner:?}");
        println!("portmap: {manner:?} is given up after {:.1} s", begun.elapsed().as_secs_f64());
        assert_eq!(router.strangers_asked(), 0, "{manner:?}: led astray");
        drop(mapper);
    }
}

#[tokio::test]
async fn pcp_restricts_to_several_sources_where_the_router_can_and_asks_no_wider_where_it_cannot() {
    let sources = vec![Ipv4Addr::new(198, 51, 100, 10), Ipv4Addr::new(198, 51, 100, 20)];
    for manner in [Filters::Kept, Filters::Refused, Filters::Ignored] {
        let folder = tempfile::tempdir().unwrap();
        let router = PcpRouter::start(manner).await;
        let mapper = start(&folder, router.port(), nowhere()).await;
        mapper.wish(one_wish(Sources::Only(sources.clone())));
        match outcome(&mapper).await {
            State::Open(open) if manner == Filters::Kept => {
                assert_eq!((open.address, open.port, open.is_restricted), (EXTERNAL, 40080, true));
                assert_eq!(router.mapped(), [(40080, sources.clone())]);
            }
            State::Failed(why) if manner != Filters::Kept => assert_eq!(why, Why::CannotRestrict),
            other => panic!("{manner:?}: {other:?}"),
        }
        mapper.stop().await;
        assert!(router.mapped().is_empty(), "{:?}", router.mapped());
        assert_eq!(router.asked_unrestricted(), 0, "asked wider than wished");
    }
}

#[tokio::test]
async fn a_ledger_that_cannot_be_written_opens_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let router = PcpRouter::start(Filters::Kept).await;
    let mapper = start(&folder, router.port(), nowhere()).await;
    // Where the new file would lie there is a folder that cannot be removed as a file.
    std::fs::create_dir_all(ledger(&folder).with_extension("new").join("x")).unwrap();
    mapper.wish(one_wish(Sources::Anyone));
    let state = outcome(&mapper).await;
    assert!(matches!(state, State::Failed(Why::Unwritable(_))), "{state:?}");
    assert!(router.mapped().is_empty(), "{:?}", router.mapped());
}
