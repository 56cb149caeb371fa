use super::support::*;
use crate::audit::{Due, MAX_VISITS};
use crate::{Attendance, AuditSettings, Device};
use doorward_core::access::{Proof, Visitor, decide};
use doorward_core::audit::Line;
use doorward_core::service::{Entrance, Service};
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// A public service, and the ways to visit it.
struct Door {
    site: Site,
    service: Arc<Service>,
}

impl Door {
    async fn open() -> Self {
        let site = Site::open().await;
        let device: Arc<Device> = site.join(1, "zumi01").await;
        let id = site.offer(&device, http("a")).await.service.unwrap();
        let service = site.control.snapshot().service(id).unwrap();
        Self { site, service }
    }

    fn visit(&self, source: &str, entrance: Entrance, now: Timestamp) -> Attendance {
        self.visit_by(source.parse().unwrap(), entrance, Vec::new(), now)
    }

    fn visit_by(&self, source: IpAddr, entrance: Entrance, proofs: Vec<Proof>, now: Timestamp) -> Attendance {
        let mut visitor = Visitor::new(source, entrance);
        visitor.proofs = proofs;
        let permit = decide(&self.service, &visitor, &*self.site.control.snapshot(), now).unwrap();
        self.site.control.attend(&permit, now)
    }

    /// The lines about visits that come of it, the oldest first.
    async fn lines(&self, due: Due, now: Timestamp) -> Vec<Line> {
        let before = self.site.control.audit(1).await.unwrap()[0].id;
        self.site.control.write_audit(due, now).await.unwrap();
        let mut lines = self.site.control.audit(1_000_000).await.unwrap();
        lines.retain(|line| line.id > before);
        lines.reverse();
        lines
    }
}

fn at(seconds: i64) -> Timestamp {
    noon().checked_add(seconds.seconds()).unwrap()
}

fn words(lines: &[Line]) -> Vec<(&str, u64, u64, u64, &str)> {
    lines.iter().map(|l| (l.deed.as_str(), l.count, l.up, l.down, l.ending.as_str())).collect()
}

#[tokio::test]
async fn a_long_visit_is_seen_while_it_lasts_each_hour_and_at_its_end() {
    let door = Door::open().await;
    let visit = door.visit("192.0.2.7", Entrance::TcpPort(20_000), at(0));
    visit.passed(10, 20, at(3));
    let lines = door.lines(Due::Ripe, at(5)).await;
    assert_eq!(words(&lines), [("visit-begun", 1, 10, 20, "")]);
    let line = &lines[0];
    assert_eq!((line.subject.as_str(), line.source.as_str(), line.detail.as_str()), ("zumi01/a", "192.0.2.7", "tcp"));
    assert_eq!((line.at, line.until), (at(0), Some(at(3))));
    visit.passed(11, 30, at(100));
    assert!(door.lines(Due::Ripe, at(105)).await.is_empty(), "not each few seconds");
    visit.passed(15, 30, at(3600));
    assert_eq!(words(&door.lines(Due::Ripe, at(3606)).await), [("visit-lasts", 0, 5, 10, "")]);
    visit.passed(16, 30, at(4000));
    visit.ends("cut");
    visit.leave(at(4000));
    drop(visit);
    assert!(door.lines(Due::Ripe, at(4005)).await.is_empty(), "they may come again at once");
    assert_eq!(words(&door.lines(Due::Ripe, at(4061)).await), [("visit-ended", 0, 1, 0, "cut")]);
    assert!(door.lines(Due::Last, at(9999)).await.is_empty());
}

#[tokio::test]
async fn a_thousand_requests_of_one_visitor_are_two_lines() {
    let door = Door::open().await;
    let request = |now| {
        let visit = door.visit("192.0.2.7", Entrance::Web, now);
        visit.passed(0, 100, now);
        visit.ends("finished");
        visit.leave(now);
    };
    request(at(0));
    assert_eq!(words(&door.lines(Due::Ripe, at(1)).await), [("visit-begun", 1, 0, 100, "finished")]);
    for second in 2..1001 {
        request(at(second));
        if second % 5 == 0 {
            assert!(door.lines(Due::Ripe, at(second)).await.is_empty());
        }
    }
    assert!(door.lines(Due::Ripe, at(1000 + 299)).await.is_empty());
    let lines = door.lines(Due::Ripe, at(1000 + 300)).await;
    assert_eq!(words(&lines), [("visit-ended", 999, 0, 99_900, "999 finished")]);
}

#[tokio::test]
async fn a_visit_that_was_over_at_once_is_one_line() {
    let door = Door::open().await;
    drop(door.visit("192.0.2.7", Entrance::TcpPort(20_000), at(0)));
    let lines = door.lines(Due::Ripe, at(5)).await;
    assert_eq!(words(&lines), [("visit-ended", 1, 0, 0, "ended")]);
    assert!(door.lines(Due::Ripe, at(70)).await.is_empty());
}

#[tokio::test]
async fn a_gateway_that_stops_ends_what_was_there() {
    let door = Door::open().await;
    let visit = door.visit("192.0.2.7", Entrance::Ssh, at(0));
    assert_eq!(words(&door.lines(Due::Ripe, at(5)).await), [("visit-begun", 1, 0, 0, "")]);
    assert_eq!(words(&door.lines(Due::Last, at(10)).await), [("visit-ended", 0, 0, 0, "")]);
    drop(visit);
}

#[tokio::test]
async fn who_came_and_on_what_grounds_is_told() {
    let door = Door::open().await;
    let ada = super::people::add(&door.site, "ada").await;
    let _visit = door.visit_by("2001:db8::7".parse().unwrap(), Entrance::Ssh, vec![Proof::Person(ada.id)], at(0));
    let lines = door.lines(Due::Ripe, at(5)).await;
    assert_eq!((lines[0].person.as_str(), lines[0].grounds.as_str()), ("ada", "own key"));
    assert_eq!(lines[0].source, "2001:db8::7");
}

#[tokio::test]
async fn visits_that_could_not_be_stored_are_counted_later() {
    let door = Door::open().await;
    let _stays = door.visit("192.0.2.7", Entrance::Ssh, at(0));
    door.visit("192.0.2.8", Entrance::Ssh, at(0)).passed(5, 0, at(0));
    let control = &door.site.control;
    control.0.store.limit_pages(1).await;
    let filler = (0..500_u32).map(|n| IpAddr::V4(Ipv4Addr::from(n << 8)));
    filler.for_each(|ip| control.refused(doorward_core::audit::Deed::DeviceRefused, Some(ip), None, "x", at(0)));
    control.write_audit(Due::Now, at(5)).await.unwrap_err();
    control.0.store.limit_pages(1_000_000).await;
    let lines = door.lines(Due::Now, at(10)).await;
    let visits: Vec<_> = lines.into_iter().filter(|line| line.deed.starts_with("visit")).collect();
    assert_eq!(visits.iter().map(|line| line.count).sum::<u64>(), 2);
    assert_eq!(visits.iter().map(|line| line.up).sum::<u64>(), 5);
    assert!(visits.iter().any(|line| line.source == "192.0.2.7" && line.deed == "visit-begun"));
}

#[tokio::test]
async fn visits_from_everywhere_stay_bounded_in_memory_and_on_disk_and_are_counted_whole() {
    let door = Door::open().await;
    door.site.control.keep_audit(AuditSettings { kept_for: SignedDuration::from_hours(24), most: 10_000 });
    let flood = u32::try_from(MAX_VISITS).unwrap() + 5000;
    for n in 0..flood {
        let visit = door.visit_by(IpAddr::V4(Ipv4Addr::from(n)), Entrance::TcpPort(20_000), Vec::new(), at(0));
        visit.passed(1, 0, at(0));
        visit.leave(at(0));
    }
    let ada = super::people::add(&door.site, "ada").await;
    let lines = door.lines(Due::Ripe, at(5)).await;
    // A tenth of the half of all lines may be written at once; strangers leave half of that.
    assert_eq!(lines.len(), 251);
    assert_eq!(lines.iter().map(|line| line.count).sum::<u64>(), u64::from(flood));
    assert_eq!(lines.iter().map(|line| line.up).sum::<u64>(), u64::from(flood));
    assert_eq!(lines.iter().filter(|line| line.detail == "many-visitors").count(), 1);
    // They were quiet for a while: there is room again for somebody who said who they are.
    door.lines(Due::Ripe, at(61)).await;
    let _visit = door.visit_by("192.0.2.1".parse().unwrap(), Entrance::Ssh, vec![Proof::Person(ada.id)], at(61));
    let lines = door.lines(Due::Ripe, at(66)).await;
    assert!(lines.iter().any(|line| line.person == "ada"), "{lines:?}");
}
