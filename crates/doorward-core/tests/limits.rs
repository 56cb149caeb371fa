//! Budgets of bytes, as they are counted and judged.

#![expect(clippy::unwrap_used, reason = "a test: what goes wrong here ends it")]

use doorward_core::access::{Budget, BudgetStanding, LimitsDocument, PolicyDocument, Spent};
use doorward_core::service::ServiceKind;
use jiff::Timestamp;

fn at(time: &str) -> Timestamp {
    time.parse().unwrap()
}

fn budget(json: &str) -> Budget {
    serde_json::from_str::<LimitsDocument>(json).unwrap().to_limits().unwrap().budget.unwrap()
}

#[test]
fn days_and_months_are_those_of_the_zone_also_when_the_clock_is_put_forward() {
    let zone = budget(r#"{"per-day":"1 GB","zone":"Europe/Berlin"}"#).zone().clone();
    let table = [
        (
            "2026-11-23T12:00:00Z",
            "2026-11-22T23:00:00Z",
            "2026-11-23T23:00:00Z",
            "2026-10-31T23:00:00Z",
            "2026-11-30T23:00:00Z",
        ),
        (
            "2026-03-29T12:00:00Z",
            "2026-03-28T23:00:00Z",
            "2026-03-29T22:00:00Z",
            "2026-02-28T23:00:00Z",
            "2026-03-31T22:00:00Z",
        ),
        (
            "2026-12-31T23:00:00Z",
            "2026-12-31T23:00:00Z",
            "2027-01-01T23:00:00Z",
            "2026-12-31T23:00:00Z",
            "2027-01-31T23:00:00Z",
        ),
    ];
    for (now, day, next_day, month, next_month) in table {
        let spent = Spent::nothing(&zone, at(now));
        assert_eq!((spent.day.since, spent.day.until), (at(day), at(next_day)), "the day of {now}");
        assert_eq!((spent.month.since, spent.month.until), (at(month), at(next_month)), "the month of {now}");
    }
}

#[test]
fn a_budget_goes_from_plenty_to_nothing_and_begins_anew() {
    let budget = budget(r#"{"per-day":"1000 B","per-month":"2000 B","zone":"UTC"}"#);
    let (monday, tuesday, december) =
        (at("2026-11-23T12:00:00Z"), at("2026-11-24T00:00:00Z"), at("2026-12-01T00:00:00Z"));
    let mut spent = Spent::nothing(budget.zone(), monday);
    assert_eq!(budget.standing(None, monday), BudgetStanding::Plenty, "nothing was reported");
    let table = [
        (799, BudgetStanding::Plenty),
        (1, BudgetStanding::Low { until: tuesday }),
        (149, BudgetStanding::Low { until: tuesday }),
        (1, BudgetStanding::Reserved { until: tuesday }),
        (49, BudgetStanding::Reserved { until: tuesday }),
        (1, BudgetStanding::Gone { until: tuesday }),
    ];
    for (bytes, standing) in table {
        spent.add(bytes, budget.zone(), monday);
        assert_eq!(budget.standing(Some(&spent), monday), standing, "{spent:?}");
    }
    assert_eq!(budget.standing(Some(&spent), tuesday), BudgetStanding::Plenty, "another day");
    spent.add(990, budget.zone(), tuesday);
    assert_eq!(budget.standing(Some(&spent), tuesday), BudgetStanding::Reserved { until: december });
    spent.add(10, budget.zone(), at("2026-11-30T00:00:00Z"));
    assert_eq!(spent.day.bytes, 10);
    assert_eq!(budget.standing(Some(&spent), at("2026-11-30T00:00:00Z")), BudgetStanding::Gone { until: december });
    assert_eq!(budget.standing(Some(&spent), december), BudgetStanding::Plenty);
}

#[test]
fn a_clock_that_is_put_back_forgets_nothing() {
    let budget = budget(r#"{"per-day":"1000 B","zone":"UTC"}"#);
    let (later, now) = (at("2026-11-25T12:00:00Z"), at("2026-11-23T12:00:00Z"));
    let mut spent = Spent::nothing(budget.zone(), later);
    spent.add(1000, budget.zone(), later);
    assert_eq!(budget.standing(Some(&spent), now), BudgetStanding::Gone { until: at("2026-11-26T00:00:00Z") });
    spent.add(0, budget.zone(), now);
    assert_eq!(budget.standing(Some(&spent), now), BudgetStanding::Gone { until: at("2026-11-24T00:00:00Z") });
}

#[test]
fn read_only_is_for_web_services_alone() {
    let policy: PolicyDocument = serde_json::from_str(r#"{"who":"public","limits":{"read-only":true}}"#).unwrap();
    assert!(policy.to_policy_for(ServiceKind::Http).unwrap().limits.is_read_only);
    for kind in [ServiceKind::Tcp, ServiceKind::Udp] {
        let why = policy.to_policy_for(kind).unwrap_err().to_string();
        assert!(why.starts_with("access.limits.read-only: a ") && why.contains("kind = \"http\""), "{why}");
    }
}
