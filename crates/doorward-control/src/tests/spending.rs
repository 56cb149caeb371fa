use super::support::*;
use crate::{Arrival, Device, LinkId, News, SpendingReport};
use doorward_core::access::{Denied, LimitsDocument, PolicyDocument, Visitor, decide};
use doorward_core::notice::Notice;
use doorward_core::service::{Entrance, Offer};
use doorward_core::site::Carrier;
use doorward_core::{ServiceId, names::Label};
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

fn limited(per_day: &str) -> PolicyDocument {
    let limits = LimitsDocument {
        per_day: Some(per_day.to_owned()),
        zone: Some("Europe/Berlin".to_owned()),
        ..LimitsDocument::default()
    };
    PolicyDocument { limits: Some(limits), ..PolicyDocument::public() }
}

/// A camera behind a link that is paid for.
struct Camera {
    site: Site,
    device: Arc<Device>,
    service: ServiceId,
}

impl Camera {
    async fn begin(policy: PolicyDocument) -> Self {
        let site = Site::open().await;
        let device = site.join(1, "van").await;
        let offered = site.offer(&device, Offer { access: policy, ..http("cam") }).await;
        let camera = Self { site, device, service: offered.service.unwrap() };
        camera.counts(0, 0).await;
        camera
    }

    async fn counts(&self, counter: u64, hour: i64) {
        let report = SpendingReport { reserve: 5, counters: vec![(cam(), counter), (label("other"), 7)] };
        self.site.control.spent_reported(self.device.id, report, hours(hour)).await.unwrap();
    }

    fn decide(&self, entrance: Entrance, hour: i64) -> Result<(), Denied> {
        let snapshot = self.site.control.snapshot();
        let service = snapshot.service(self.service).unwrap();
        let visitor = Visitor::new("192.0.2.7".parse().unwrap(), entrance);
        decide(&service, &visitor, &*snapshot, hours(hour)).map(|_| ())
    }
}

fn cam() -> Label {
    label("cam")
}

fn hours(after_noon: i64) -> Timestamp {
    noon() + SignedDuration::from_hours(after_noon)
}

/// Midnight in Berlin.
fn midnight() -> Timestamp {
    hours(11)
}

#[tokio::test]
async fn a_budget_that_is_used_up_is_told_of_in_time_and_refuses_until_the_next_day() {
    let camera = Camera::begin(limited("1000 B")).await;
    let control = &camera.site.control;
    let mut notices = control.alerts();
    let told = |percent| {
        let (service, until) = ("van/cam".to_owned(), Some(midnight()));
        Notice::BudgetNearlyUsed { service, percent, until }
    };
    let before = control.snapshot().generation();
    camera.counts(799, 1).await;
    assert_eq!(control.snapshot().generation(), before, "what makes no difference is not published");
    camera.counts(800, 1).await;
    assert_eq!(notices.try_recv().unwrap().notice, told(80));
    assert_eq!(camera.decide(Entrance::Web, 1), Ok(()));
    camera.counts(949, 1).await;
    assert!(notices.try_recv().is_err(), "once is enough");
    let mut changes = control.changes();
    camera.counts(950, 2).await;
    let news = next_news(&mut changes).await;
    assert!(matches!(&news, Some(News::Change(c)) if c.services == [camera.service]), "visits are cut: {news:?}");
    assert_eq!(notices.try_recv().unwrap().notice, told(100));
    assert_eq!(camera.decide(Entrance::Web, 2), Err(Denied::BudgetSpent { until: midnight() }));
    assert_eq!(camera.decide(Entrance::Ssh, 2), Ok(()), "something is kept for ssh");
    camera.counts(1000, 3).await;
    assert_eq!(camera.decide(Entrance::Ssh, 3), Err(Denied::BudgetSpent { until: midnight() }));
    assert_eq!(camera.decide(Entrance::Web, 11), Ok(()), "another day");
    camera.counts(1001, 11).await;
    assert_eq!(control.spent(camera.service).map(|spent| (spent.day.bytes, spent.month.bytes)), Some((1, 1001)));
    let deeds: Vec<_> = control.audit(20).await.unwrap().into_iter().map(|entry| entry.deed).collect();
    assert_eq!(deeds.iter().filter(|deed| *deed == "budget-low").count(), 1, "{deeds:?}");
    assert_eq!(deeds.iter().filter(|deed| *deed == "budget-spent").count(), 2, "{deeds:?}");
}

#[tokio::test]
async fn neither_side_s_restart_forgets_or_counts_twice() {
    let camera = Camera::begin(limited("1000 B")).await;
    camera.counts(500, 0).await;
    camera.site.control.keep_house_once(hours(0)).await.unwrap();
    let Camera { site, device, service } = camera;
    let camera = Camera { site: site.reopen().await, device, service };
    let bytes = |camera: &Camera| camera.site.control.spent(camera.service).unwrap().day.bytes;
    assert_eq!(bytes(&camera), 500);
    camera.counts(500, 1).await;
    assert_eq!(bytes(&camera), 500, "the same counter");
    camera.counts(700, 1).await;
    assert_eq!(bytes(&camera), 700);
    // It had not written its last bytes down before it lost its power, but had reported them.
    camera.counts(600, 1).await;
    camera.counts(650, 1).await;
    assert_eq!(bytes(&camera), 750);
    camera.counts(900, 1).await;
    assert_eq!(camera.decide(Entrance::Web, 1), Err(Denied::BudgetSpent { until: midnight() }));
    let Camera { site, device, service } = camera;
    let camera = Camera { site: site.reopen().await, device, service };
    assert_eq!(camera.decide(Entrance::Web, 1), Err(Denied::BudgetSpent { until: midnight() }), "after a restart");
    let mut notices = camera.site.control.alerts();
    camera.counts(901, 1).await;
    assert!(notices.try_recv().is_err(), "nobody is told again");
}

#[tokio::test]
async fn a_smaller_budget_counts_at_once_with_what_was_spent_and_a_larger_one_lets_in() {
    let camera = Camera::begin(limited("10 kB")).await;
    let control = &camera.site.control;
    camera.counts(2000, 0).await;
    let set = async |policy: PolicyDocument| {
        control.set_access(camera.device.id, &cam(), Some(policy), None, hours(1)).await.unwrap();
        control.keep_house_once(hours(1)).await.unwrap();
    };
    set(limited("1 kB")).await;
    assert_eq!(camera.decide(Entrance::Web, 1), Err(Denied::BudgetSpent { until: midnight() }));
    set(limited("20 kB")).await;
    assert_eq!(camera.decide(Entrance::Web, 1), Ok(()));
    set(PolicyDocument::public()).await;
    camera.counts(1_000_000, 2).await;
    assert_eq!(camera.decide(Entrance::Web, 2), Ok(()));
}

#[tokio::test]
async fn read_only_is_refused_for_what_is_no_web_service() {
    let site = Site::open().await;
    let device = site.join(1, "van").await;
    let limits = Some(LimitsDocument { read_only: true, ..LimitsDocument::default() });
    let policy = PolicyDocument { limits, ..PolicyDocument::public() };
    let registered = site.register(&device, vec![Offer { access: policy.clone(), ..tcp("ssh", 0) }]).await;
    assert!(registered[0].problems[0].contains("access.limits.read-only: a tcp service"), "{registered:?}");
    let set = site.control.set_access(device.id, &label("ssh"), Some(policy.clone()), None, noon()).await;
    assert!(matches!(&set, Err(crate::EditError::Invalid(why)) if why.contains("read-only")), "{set:?}");
    site.offer(&device, Offer { access: policy, ..http("cam") }).await;
}

#[tokio::test]
async fn the_gateway_counts_for_a_device_that_comes_by_ssh_alone() {
    let camera = Camera::begin(limited("1000 B")).await;
    let control = &camera.site.control;
    let visit = |carrier| {
        let arrival = Arrival {
            device: camera.device.id,
            link: LinkId(1),
            carrier,
            source: "192.0.2.9".parse().unwrap(),
            agent_version: String::new(),
        };
        control.presence().arrived(arrival, noon());
        let snapshot = control.snapshot();
        let visitor = Visitor::new("192.0.2.7".parse().unwrap(), Entrance::Web);
        let permit = decide(&snapshot.service(camera.service).unwrap(), &visitor, &*snapshot, noon()).unwrap();
        let attendance = control.attend(&permit, noon());
        attendance.passed(100, 900, noon());
        attendance.passed(100, 900, noon());
    };
    let spent = || control.spent(camera.service).unwrap().day.bytes;
    visit(Carrier::Quic);
    assert_eq!(spent(), 0, "its agent counts");
    visit(Carrier::Ssh);
    assert_eq!(spent(), 1000);
    control.settle_budgets(noon()).await.unwrap();
    assert_eq!(camera.decide(Entrance::Web, 0), Err(Denied::BudgetSpent { until: midnight() }));
}
