//! What the gateway reports about its certificates.

use super::Finding;
use doorward_control::{CertificateReport, CertificateState, SetReport};
use jiff::Timestamp;

pub(super) fn about(report: &CertificateReport, now: Timestamp) -> Vec<Finding> {
    let mut findings: Vec<_> = report.sets.iter().flat_map(|set| about_set(set, now)).collect();
    for authority in &report.authorities {
        let what = format!(
            "{} of {} new ones were given by {} in the last seven days",
            authority.weekly_used, authority.weekly, authority.directory
        );
        findings.push(if authority.weekly_used >= authority.weekly {
            Finding::note(
                "certificates",
                what,
                "further names have to wait; [certificates.dns] makes one certificate for all",
            )
        } else {
            Finding::fine("certificates", what)
        });
    }
    findings
}

fn about_set(set: &SetReport, now: Timestamp) -> Vec<Finding> {
    let names = &set.names;
    let held = match set.held_until {
        Some(until) if until > now => format!("; the one in use is good until {until}"),
        Some(until) => format!("; the one in use ended {until}"),
        None => String::new(),
    };
    let wrong =
        |what: String, remedy: String| vec![Finding::wrong("certificates", format!("{names}: {what}{held}"), remedy)];
    match &set.state {
        CertificateState::Fine { renew_at } => {
            vec![Finding::fine("certificates", format!("{names}{held}, renewed from {renew_at}"))]
        }
        CertificateState::Ordering { authority } => {
            vec![Finding::note(
                "certificates",
                format!("{names}: being ordered from {authority}{held}"),
                "look again in a minute",
            )]
        }
        CertificateState::Records { missing } => missing
            .iter()
            .flat_map(|record| wrong(format!("DNS lacks {record}"), "make this record in DNS".to_owned()))
            .collect(),
        CertificateState::Failed { why, next_try } => {
            wrong(why.clone(), format!("see that port 80 or 443 can be reached from outside; tried again {next_try}"))
        }
        CertificateState::Budget { until } => {
            let what = format!("{names}: the authority gives no more this week{held}");
            vec![Finding::note("certificates", what, format!("it is ordered {until}"))]
        }
        CertificateState::Nobody => {
            wrong("there is no authority to ask".to_owned(), "name one under [certificates]".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Standing;
    use doorward_control::AuthorityReport;

    #[test]
    fn each_missing_record_is_named_and_the_budget_is_said() {
        let now = "2026-11-21T12:00:00Z".parse().unwrap();
        let missing = vec!["gw.net A 203.0.113.7 (DNS does not know the name)".to_owned(), "*.gw.net A …".to_owned()];
        let set = |names: &str, state| SetReport { names: names.to_owned(), held_until: None, state };
        let report = CertificateReport {
            sets: vec![
                set("gw.net", CertificateState::Records { missing }),
                set("a.gw.net", CertificateState::Fine { renew_at: now }),
                set("b.gw.net", CertificateState::Failed { why: "no route".to_owned(), next_try: now }),
            ],
            authorities: vec![AuthorityReport { directory: "https://ca/".to_owned(), weekly_used: 50, weekly: 50 }],
        };
        let findings = about(&report, now);
        let standings: Vec<_> = findings.iter().map(|finding| finding.standing).collect();
        assert_eq!(standings, [Standing::Wrong, Standing::Wrong, Standing::Fine, Standing::Wrong, Standing::Note]);
        assert!(findings[0].what.contains("gw.net A 203.0.113.7"), "{findings:?}");
        assert!(findings[4].what.starts_with("50 of 50"), "{findings:?}");
    }
}
