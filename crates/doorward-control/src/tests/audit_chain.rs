use super::support::*;
use crate::audit::{Due, forget_old_lines};
use crate::{Actor, AuditChoice, AuditSettings, Broken, Control, InviteRequest, Verifier, accounts};
use doorward_core::AccountId;
use doorward_core::audit::{Deed, Line};
use jiff::{SignedDuration, Timestamp, ToSpan};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

async fn record(control: &Control, many: i64, now: Timestamp) {
    for n in 0..many {
        control.record(Deed::CloneParked, format!("d{n}"), "küche".into(), None, now).await.unwrap();
    }
}

async fn tamper(directory: &Path, sql: &str) {
    use sqlx::{ConnectOptions, Connection};
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(directory.join("doorward.db"));
    let mut connection = options.connect().await.unwrap();
    let done = sqlx::query(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    assert!(done.rows_affected() > 0, "{sql}");
    connection.close().await.unwrap();
}

#[tokio::test]
async fn whatever_is_changed_left_out_or_put_in_between_is_found_at_its_line() {
    let hash = "a".repeat(64);
    let forged = format!(
        "INSERT INTO audit (id, at, deed, subject, detail, source, count, hash) SELECT 100, at, deed, subject, detail, source, count, '{hash}' FROM audit WHERE id = 10"
    );
    let cases = [
        ("UPDATE audit SET subject = 'somebody' WHERE id = 4", Broken::Changed { id: 4 }),
        ("UPDATE audit SET at = at + 1 WHERE id = 4", Broken::Changed { id: 4 }),
        ("UPDATE audit SET until = at WHERE id = 4", Broken::Changed { id: 4 }),
        ("UPDATE audit SET person = 'ada' WHERE id = 1", Broken::Changed { id: 1 }),
        ("UPDATE audit SET count = 2 WHERE id = 10", Broken::Changed { id: 10 }),
        ("UPDATE audit SET up = 1 WHERE id = 5", Broken::Changed { id: 5 }),
        ("UPDATE audit SET grounds = detail, detail = grounds WHERE id = 5", Broken::Changed { id: 5 }),
        ("UPDATE audit SET hash = 'x' WHERE id = 5", Broken::Changed { id: 5 }),
        ("DELETE FROM audit WHERE id = 4", Broken::Missing { expected: 4, found: 5 }),
        ("DELETE FROM audit WHERE id = 1", Broken::Missing { expected: 1, found: 2 }),
        ("DELETE FROM audit WHERE id > 8", Broken::Truncated { expected: 10, found: 8 }),
        ("DELETE FROM audit", Broken::Truncated { expected: 10, found: 0 }),
        (forged.as_str(), Broken::Missing { expected: 11, found: 100 }),
        ("UPDATE audit_anchor SET id = 3", Broken::Missing { expected: 4, found: 1 }),
    ];
    let mut seen = 0;
    for (sql, expected) in cases {
        let site = Site::open().await;
        record(&site.control, 10, noon()).await;
        let sound = site.control.verify_audit().await.unwrap();
        assert_eq!((sound.lines, sound.broken), (10, None));
        tamper(&site.data(), sql).await;
        let found = site.control.verify_audit().await.unwrap().broken;
        // An anchor that was moved leaves the lines before it out.
        if sql.contains("audit_anchor") {
            assert_eq!(found, Some(Broken::Changed { id: 4 }), "{sql}");
        } else {
            assert_eq!(found, Some(expected), "{sql}");
        }
        seen += 1;
    }
    assert_eq!(seen, 14);
}

#[tokio::test]
async fn what_is_left_after_retention_still_verifies_also_over_a_restart() {
    let site = Site::open().await;
    record(&site.control, 20, noon()).await;
    let later = noon().checked_add(100.hours()).unwrap();
    record(&site.control, 5, later).await;
    let settings = AuditSettings { kept_for: SignedDuration::from_hours(50), most: 1000 };
    site.control.write(move |work| Box::pin(forget_old_lines(work, settings, later))).await.unwrap();
    let sound = site.control.verify_audit().await.unwrap();
    assert_eq!((sound.anchor.id, sound.lines, sound.broken), (20, 5, None));
    let settings = AuditSettings { most: 3, ..settings };
    site.control.write(move |work| Box::pin(forget_old_lines(work, settings, later))).await.unwrap();
    let site = site.reopen().await;
    record(&site.control, 1, later).await;
    let sound = site.control.verify_audit().await.unwrap();
    assert_eq!((sound.anchor.id, sound.lines, sound.broken), (22, 4, None));
    let lines = site.control.audit(100).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.id).collect::<Vec<_>>(), [26, 25, 24, 23]);
    // All of it forgotten: the next line rests on the last one's hash.
    let far = later.checked_add(1000.hours()).unwrap();
    site.control.write(move |work| Box::pin(forget_old_lines(work, settings, far))).await.unwrap();
    assert!(site.control.audit(100).await.unwrap().is_empty());
    record(&site.control, 2, far).await;
    let sound = site.control.verify_audit().await.unwrap();
    assert_eq!((sound.anchor.id, sound.head.id, sound.broken), (26, 28, None));
}

#[tokio::test]
async fn forgetting_does_not_hide_a_gap() {
    let site = Site::open().await;
    record(&site.control, 20, noon()).await;
    tamper(&site.data(), "DELETE FROM audit WHERE id = 17").await;
    let settings = AuditSettings { kept_for: SignedDuration::from_hours(50), most: 3 };
    site.control.write(move |work| Box::pin(forget_old_lines(work, settings, noon()))).await.unwrap();
    let broken = site.control.verify_audit().await.unwrap().broken;
    assert_eq!(broken, Some(Broken::Missing { expected: 17, found: 18 }));
}

#[tokio::test]
async fn lines_of_a_release_without_a_chain_become_part_of_it() {
    let site = Site::open().await;
    record(&site.control, 2500, noon()).await;
    site.control.close().await;
    tamper(&site.data(), "UPDATE audit SET hash = ''").await;
    tamper(&site.data(), "DELETE FROM audit WHERE id <= 100").await;
    tamper(&site.data(), "UPDATE audit_anchor SET id = 100").await;
    let site = site.reopen().await;
    record(&site.control, 1, noon()).await;
    let sound = site.control.verify_audit().await.unwrap();
    assert_eq!((sound.anchor.id, sound.lines, sound.broken), (100, 2401, None));
}

#[tokio::test]
async fn a_part_of_the_chain_verifies_elsewhere_and_joins_the_next_part() {
    let site = Site::open().await;
    record(&site.control, 30, noon()).await;
    let (before, part) = site.control.audit_part(11, 10).await.unwrap();
    assert_eq!((before.id, part.len()), (10, 10));
    let mut verifier = Verifier::from(before);
    part.iter().for_each(|line| verifier.hold(line).unwrap());
    let (before, next) = site.control.audit_part(21, 100).await.unwrap();
    assert_eq!(before, verifier.head());
    next.iter().for_each(|line| verifier.hold(line).unwrap());
    assert_eq!(verifier.head(), site.control.verify_audit().await.unwrap().head);
    let mut changed = part[3].clone();
    changed.line.source = "192.0.2.1".into();
    let mut verifier = Verifier::from(site.control.audit_part(11, 0).await.unwrap().0);
    part[..3].iter().for_each(|line| verifier.hold(line).unwrap());
    assert_eq!(verifier.hold(&changed), Err(Broken::Changed { id: 14 }));
}

/// Sixteen hours of a flood: one attempt each 58 ms, each from another network.
#[tokio::test]
async fn a_million_refused_attempts_leave_bounded_lines_and_are_all_counted() {
    let site = Site::open().await;
    let before = std::fs::metadata(site.data().join("doorward.db")).unwrap().len();
    let mut now = noon();
    for minute in 0..1000_u32 {
        for n in 0..1000_u32 {
            let source = IpAddr::V4(Ipv4Addr::from((minute * 1000 + n) << 8));
            site.control.refused(Deed::VisitRefused, Some(source), None, "nobody", now);
        }
        now = now.checked_add(1.minute()).unwrap();
        site.control.write_audit(Due::Ripe, now).await.unwrap();
    }
    site.control.write_audit(Due::Last, now).await.unwrap();
    let lines = site.control.audit(1_000_000).await.unwrap();
    let size = std::fs::metadata(site.data().join("doorward.db")).unwrap().len()
        + std::fs::metadata(site.data().join("doorward.db-wal")).unwrap().len();
    println!("1 000 000 attempts: {} lines, {} KiB on disk", lines.len(), (size - before) / 1024);
    assert_eq!(lines.iter().map(|line| line.count).sum::<u64>(), 1_000_000);
    // A quarter of 500 000, a tenth of it at once, and what 90 days give back in 1000 minutes; and one an hour.
    let bound = 12_500 + 125_000 * 1000 / (90 * 24 * 60) + 20;
    assert!(lines.len() <= bound, "{} lines, {bound} at most", lines.len());
    assert!(lines.len() > 12_500, "what there is room for is told apart");
    assert_eq!(site.control.verify_audit().await.unwrap().broken, None);
}

#[tokio::test]
async fn a_minute_of_refusals_is_one_line_however_often_it_is_looked_at_in_passing() {
    let site = Site::open().await;
    let source = Some("192.0.2.1".parse().unwrap());
    for second in 0..60 {
        let now = noon().checked_add(second.seconds()).unwrap();
        site.control.refused(Deed::VisitRefused, source, None, "nobody", now);
        site.control.write_audit(Due::Ripe, now).await.unwrap();
    }
    assert_eq!(site.control.audit(100).await.unwrap(), Vec::<Line>::new());
    site.control.write_audit(Due::Ripe, noon().checked_add(1.minute()).unwrap()).await.unwrap();
    let lines = site.control.audit(100).await.unwrap();
    assert_eq!(lines.iter().map(|line| line.count).collect::<Vec<_>>(), [60]);
}

#[tokio::test]
async fn a_deed_is_told_with_who_did_it_and_by_what() {
    let site = Site::open().await;
    let device = site.join(1, "zumi01").await;
    let source: IpAddr = "192.0.2.9".parse().unwrap();
    let ada = Actor::Person { account: accounts::OWNER, grounds: "login 17".into(), source: Some(source) };
    let nobody = Actor::Person { account: AccountId(99), grounds: String::new(), source: None };
    site.control.acting_as(ada).create_invite(accounts::OWNER, InviteRequest::default(), noon()).await.unwrap();
    site.control.acting_as(nobody).revoke_device(device.id, None, noon()).await.unwrap();
    let owner = site.control.acting_as(Actor::Owner);
    owner.create_invite(accounts::OWNER, InviteRequest::default(), noon()).await.unwrap();
    let told: Vec<_> = site.control.audit(3).await.unwrap();
    let told: Vec<_> = told.iter().map(|l| (l.person.as_str(), l.grounds.as_str(), l.source.as_str())).collect();
    let expected = [("owner", "the gateway's socket", ""), ("account 99", "", ""), ("owner", "login 17", "192.0.2.9")];
    assert_eq!(told, expected);
}

#[tokio::test]
async fn lines_are_chosen_by_person_service_device_deed_and_time() {
    let site = Site::open().await;
    let at = |hours: i64| noon().checked_add(hours.hours()).unwrap();
    let deeds = [
        (Deed::SessionOpened, "zumi01/jupyter"),
        (Deed::SessionEnded, "zumi01/jupyter"),
        (Deed::SessionOpened, "zumi02/jupyter"),
        (Deed::DeviceRenamed, "zumi01"),
        (Deed::PersonAdded, "ada"),
        (Deed::VisitRefused, "zumi011/cam"),
    ];
    for (hour, (deed, subject)) in deeds.into_iter().enumerate() {
        let hour = i64::try_from(hour).unwrap();
        site.control.record(deed, subject.into(), String::new(), None, at(hour)).await.unwrap();
    }
    let find = async |choice: AuditChoice| {
        let lines = site.control.audit_of(&choice, 100).await.unwrap();
        lines.iter().map(|line| line.line.id).collect::<Vec<_>>()
    };
    let any = AuditChoice::default;
    assert_eq!(find(any()).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(find(AuditChoice { device: "zumi01".into(), ..any() }).await, [4, 2, 1]);
    assert_eq!(find(AuditChoice { service: "jupyter".into(), ..any() }).await, [3, 2, 1]);
    assert_eq!(find(AuditChoice { service: "zumi02/jupyter".into(), ..any() }).await, [3]);
    assert_eq!(find(AuditChoice { deed: "session".into(), ..any() }).await, [3, 2, 1]);
    assert_eq!(find(AuditChoice { deed: "session-ended".into(), ..any() }).await, [2]);
    assert_eq!(find(AuditChoice { person: "ada".into(), ..any() }).await, [5]);
    assert_eq!(find(AuditChoice { since: Some(at(1)), until: Some(at(4)), ..any() }).await, [4, 3, 2]);
    assert_eq!(find(AuditChoice { before: Some(3), ..any() }).await, [2, 1]);
    let both = AuditChoice { device: "zumi01".into(), deed: "session-opened".into(), ..any() };
    assert_eq!(find(both).await, [1]);
}
