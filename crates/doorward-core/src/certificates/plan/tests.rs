use super::*;

const FIRST: &str = "https://one/";
const SECOND: &str = "https://two/";

fn time(text: &str) -> Timestamp {
    format!("2026-{text}:00Z").parse().unwrap()
}

fn names(text: &str) -> Names {
    Names::parse(text).unwrap()
}

fn held(text: &str, from: &str, until: &str) -> Held {
    Held { names: names(text), not_before: time(from), not_after: time(until) }
}

fn attempt(text: &str, authority: &str, at: &str, outcome: Outcome) -> Attempt {
    Attempt { names: names(text), authority: authority.to_owned(), at: time(at), outcome }
}

const NEW: Outcome = Outcome::Issued { is_renewal: false };
const RENEWED: Outcome = Outcome::Issued { is_renewal: true };
const FAILED: Outcome = Outcome::Failed { not_until: None };

/// What is to be done about `a.net` now, with two authorities and pauses from 5 minutes to 12 hours.
fn ask(held: &[Held], attempts: &[Attempt], now: &str) -> Need {
    let terms = |directory: &str| AuthorityTerms { directory: directory.to_owned(), weekly: 3, weekly_same: 2 };
    let situation = Situation {
        wanted: &[names("a.net")],
        held,
        windows: &HashMap::new(),
        attempts,
        authorities: &[terms(FIRST), terms(SECOND)],
        tempo: Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) },
    };
    let plan = plan(&situation, time(now));
    assert_eq!(plan.len(), 1);
    plan[0]
}

const ORDER: Need = Need::Order { authority: 0, is_renewal: false };
const ORDER_SECOND: Need = Need::Order { authority: 1, is_renewal: false };
const RENEW: Need = Need::Order { authority: 0, is_renewal: true };

#[test]
fn what_is_missing_is_ordered_and_what_is_held_is_renewed_in_its_last_third() {
    assert_eq!(ask(&[], &[], "01-01T00:00"), ORDER);
    assert_eq!(ask(&[held("b.net", "01-01T00:00", "04-01T00:00")], &[], "01-02T00:00"), ORDER);
    let held = [held("a.net", "01-01T00:00", "04-01T00:00")];
    assert!(matches!(ask(&held, &[], "01-02T00:00"), Need::Nothing { .. }));
    assert!(matches!(ask(&held, &[], "02-25T00:00"), Need::Nothing { .. }));
    assert_eq!(ask(&held, &[], "03-02T00:00"), RENEW);
    // Six days long, as for addresses.
    let short = [Held { not_after: time("01-07T00:00"), ..held[0].clone() }];
    assert!(matches!(ask(&short, &[], "01-04T12:00"), Need::Nothing { .. }));
    assert_eq!(ask(&short, &[], "01-05T00:00"), RENEW);
}

#[test]
fn renewals_of_different_names_do_not_fall_on_one_moment() {
    let at = |name: &str| renew_at(&held(name, "01-01T00:00", "04-01T00:00"), None);
    let moments: std::collections::BTreeSet<_> = (0..50).map(|n| at(&format!("p{n}.gw.net"))).collect();
    assert!(moments.len() > 40, "{}", moments.len());
    assert!(moments.iter().all(|m| *m > time("02-25T00:00") && *m <= time("03-02T00:00")), "{moments:?}");
}

#[test]
fn after_a_failure_the_next_authority_is_asked_and_then_nobody_for_a_while() {
    let mut tried = vec![attempt("a.net", FIRST, "01-01T00:00", FAILED)];
    assert_eq!(ask(&[], &tried, "01-01T00:01"), ORDER_SECOND);
    tried.push(attempt("a.net", SECOND, "01-01T00:01", FAILED));
    let Need::Wait { until, why: Pause::Failures } = ask(&[], &tried, "01-01T00:02") else { panic!("no pause") };
    assert!(until >= time("01-01T00:05") && until <= time("01-01T00:07"), "{until}");
    assert_eq!(ask(&[], &tried, "01-01T00:08"), ORDER);
    // Somebody else's failures do not matter.
    assert_eq!(ask(&[], &[attempt("b.net", FIRST, "01-01T00:00", FAILED)], "01-01T00:01"), ORDER);
}

#[test]
fn pauses_grow_to_half_a_day_and_end_with_a_success() {
    let mut tried: Vec<Attempt> = Vec::new();
    let mut pauses = Vec::new();
    let start = time("01-01T00:00");
    let mut now = start;
    for _ in 0..6 {
        for authority in [FIRST, SECOND] {
            tried.push(Attempt { at: now, ..attempt("a.net", authority, "01-01T00:00", FAILED) });
        }
        let from = rested(
            tried.iter().filter(|a| a.authority == FIRST),
            &names("a.net"),
            Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) },
        );
        pauses.push(from.duration_since(now).as_mins());
        now = from;
    }
    let expected = [5, 20, 80, 320, 720, 720];
    let fits = |(got, least): (&i64, &i64)| (*least..=least * 5 / 4).contains(got);
    assert!(pauses.iter().zip(&expected).all(fits), "{pauses:?}");
    tried.push(Attempt { at: now, ..attempt("a.net", FIRST, "01-01T00:00", RENEWED) });
    let later = [tried, vec![Attempt { at: now, ..attempt("a.net", FIRST, "01-01T00:00", FAILED) }]].concat();
    let again = rested(
        later.iter().filter(|a| a.authority == FIRST),
        &names("a.net"),
        Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) },
    );
    assert!(again.duration_since(now) < SignedDuration::from_mins(7), "{again} {now}");
}

#[test]
fn an_authority_that_asks_for_patience_gets_it() {
    let patience = Outcome::Failed { not_until: Some(time("01-03T00:00")) };
    let tried = [
        attempt("a.net", FIRST, "01-01T00:00", patience),
        attempt("a.net", SECOND, "01-01T00:00", Outcome::Failed { not_until: Some(time("01-02T00:00")) }),
    ];
    assert_eq!(ask(&[], &tried, "01-01T12:00"), Need::Wait { until: time("01-02T00:00"), why: Pause::Failures });
    assert_eq!(ask(&[], &tried, "01-02T00:00"), ORDER_SECOND);
    assert_eq!(ask(&[], &tried, "01-03T00:00"), ORDER);
}

#[test]
fn the_weekly_budget_holds_back_new_certificates_and_not_renewals() {
    let used: Vec<_> = ["b.net", "c.net", "d.net"]
        .iter()
        .flat_map(|name| [FIRST, SECOND].map(|authority| attempt(name, authority, "01-01T00:00", NEW)))
        .collect();
    assert_eq!(ask(&[], &used, "01-02T00:00"), Need::Wait { until: time("01-08T00:00"), why: Pause::Budget });
    assert_eq!(ask(&[], &used, "01-08T00:00"), ORDER);
    assert_eq!(weekly_use(&used, FIRST, time("01-02T00:00")), 3);
    assert_eq!(weekly_use(&used, FIRST, time("01-08T00:00")), 0);
    let old = [held("a.net", "01-01T00:00", "01-01T12:00")];
    assert_eq!(ask(&old, &used, "01-02T00:00"), RENEW);
    // Only the first is used up: the second is asked.
    let first: Vec<_> = used.into_iter().filter(|attempt| attempt.authority == FIRST).collect();
    assert_eq!(ask(&[], &first, "01-02T00:00"), ORDER_SECOND);
}

#[test]
fn the_same_names_are_not_ordered_without_end() {
    let issued = |authority: &str| {
        [attempt("a.net", authority, "01-01T00:00", NEW), attempt("a.net", authority, "01-02T00:00", RENEWED)]
    };
    let lost = [issued(FIRST), issued(SECOND)].concat();
    assert_eq!(ask(&[], &lost, "01-03T00:00"), Need::Wait { until: time("01-08T00:00"), why: Pause::Budget });
}

#[test]
fn without_an_authority_nothing_is_ordered() {
    let wanted = [names("a.net")];
    let tempo = Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) };
    let windows = HashMap::new();
    let situation = Situation { wanted: &wanted, held: &[], windows: &windows, attempts: &[], authorities: &[], tempo };
    assert_eq!(plan(&situation, time("01-01T00:00")), [Need::Nobody]);
}

#[test]
fn the_window_that_an_authority_suggests_counts_before_our_own_reckoning() {
    let held = held("a.net", "01-01T00:00", "04-01T00:00");
    let at = |from: &str, until: &str| renew_at(&held, Some(&Window { from: time(from), until: time(until) }));
    // Earlier than ours, as when it has to revoke many; later; and over already, which means now.
    for (from, until) in [("01-10T00:00", "01-12T00:00"), ("03-10T00:00", "03-11T00:00")] {
        assert!((time(from)..=time(until)).contains(&at(from, until)), "{from}");
    }
    assert!(at("01-01T00:00", "01-01T01:00") < time("01-02T00:00"));
    // One that would let it expire, one that ends before it begins.
    assert!(at("05-01T00:00", "05-02T00:00") < time("03-25T00:00"));
    assert_eq!(at("01-10T00:00", "01-05T00:00"), time("01-10T00:00"));
    let windows = HashMap::from([(names("a.net"), Window { from: time("01-10T00:00"), until: time("01-12T00:00") })]);
    let terms = [AuthorityTerms { directory: FIRST.to_owned(), weekly: 3, weekly_same: 2 }];
    let situation = Situation {
        wanted: &[names("a.net")],
        held: &[held],
        windows: &windows,
        attempts: &[],
        authorities: &terms,
        tempo: Tempo { first: SignedDuration::from_mins(5), longest: SignedDuration::from_hours(12) },
    };
    assert!(matches!(plan(&situation, time("01-09T00:00"))[..], [Need::Nothing { .. }]));
    assert_eq!(plan(&situation, time("01-12T00:00")), [RENEW]);
}

#[test]
fn names_are_spread_over_a_suggested_window() {
    let window = Window { from: time("02-01T00:00"), until: time("02-03T00:00") };
    let at = |number: usize| renew_at(&held(&format!("p{number}.gw.net"), "01-01T00:00", "04-01T00:00"), Some(&window));
    let moments: std::collections::BTreeSet<_> = (0..50).map(at).collect();
    assert!(moments.len() > 40, "{}", moments.len());
}
