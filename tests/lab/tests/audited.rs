//! Visits of every kind in the audit.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_control::AuditChoice;
use doorward_core::access::PolicyDocument;
use doorward_core::audit::Line;
use doorward_lab::held::{Cut, Held, Kind};
use doorward_lab::{Lab, until};
use std::time::Instant;
use tokio_util::sync::CancellationToken;

async fn visits(lab: &Lab, service: &str) -> Vec<Line> {
    let choice = AuditChoice { service: service.to_owned(), deed: "visit".to_owned(), ..AuditChoice::default() };
    let lines = lab.control().audit_of(&choice, 1000).await.unwrap();
    lines.into_iter().map(|chained| chained.line).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_visit_is_in_the_audit_while_it_lasts_and_with_its_bytes_when_it_was_cut() {
    for kind in Kind::ALL {
        let lab = Lab::with_portal().await;
        let held = Held::open(&lab, kind).await;
        lab.control().flush_audit().await.unwrap();
        let lines = visits(&lab, &format!("pi/{}", kind.word())).await;
        let begun =
            lines.iter().find(|line| line.deed == "visit-begun").unwrap_or_else(|| panic!("{kind:?}: {lines:?}"));
        let person = if kind == Kind::Feed { "owner" } else { kind.person().unwrap_or_default() };
        assert_eq!((begun.source.as_str(), begun.person.as_str()), ("127.0.0.1", person), "{kind:?}");
        // The port is tried once before.
        assert!((1..=2).contains(&begun.count), "{kind:?}: {begun:?}");
        lab.set_access("pi", kind.word(), PolicyDocument::default()).await;
        held.must_be_cut(Instant::now(), Cut::Service).await;
        until("nobody is in any more", async || lab.gateway.gateway.open_streams() == 0).await;
        // The last round of housekeeping, as when the gateway stops.
        let over = CancellationToken::new();
        over.cancel();
        lab.control().clone().keep_house(over).await;
        let lines = visits(&lab, &format!("pi/{}", kind.word())).await;
        let ended =
            lines.iter().find(|line| line.deed == "visit-ended").unwrap_or_else(|| panic!("{kind:?}: {lines:?}"));
        assert!(ended.ending.contains("cut"), "{kind:?}: {lines:?}");
        let sum = |of: fn(&Line) -> u64| lines.iter().filter(|line| line.deed != "visit-refused").map(of).sum::<u64>();
        let (up, down) = (sum(|line| line.up), sum(|line| line.down));
        assert!(up + down > 0, "{kind:?}: {lines:?}");
        assert!(kind != Kind::Upload || up > 10_000, "{kind:?}: {up} bytes up");
        assert_eq!(lab.control().verify_audit().await.unwrap().broken, None);
    }
}
