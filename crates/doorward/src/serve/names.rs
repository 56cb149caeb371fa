//! What `doorward serve` says about the names that lead to it: which records DNS needs, which are missing, and without a
//! domain what there is to choose from.

use doorward_control::{CertificateReport, CertificateState, Control};
use doorward_gateway::DnsRecord;
use std::time::Duration;
use tokio::time::timeout;

/// For DNS to answer, or not.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn explain(control: &Control, needed: &[DnsRecord]) {
    if control.site().domain.as_ref().is_none_or(|domain| domain.as_str() == "localhost") {
        println!("\n{}", choices());
        return;
    }
    if needed.is_empty() {
        return;
    }
    println!("\n{}", table(needed));
    let mut reports = control.certificate_reports().follow();
    let is_known = |report: &CertificateReport| !report.sets.is_empty();
    if let Ok(Ok(report)) = timeout(PATIENCE, reports.wait_for(is_known)).await {
        println!("{}", standing(&report));
    }
}

/// The records, in columns, as they are typed into a provider's form.
fn table(needed: &[DnsRecord]) -> String {
    let widest = needed.iter().map(|record| record.name.len()).max().unwrap_or(0);
    let line = |record: &DnsRecord| format!("  {:<widest$}  {:<5}  {}\n", record.name, record.kind, record.value);
    format!("DNS needs these records:\n\n{}", needed.iter().map(line).collect::<String>())
}

fn standing(report: &CertificateReport) -> String {
    let missing = report.sets.iter().filter_map(|set| match &set.state {
        CertificateState::Records { missing } => Some(missing),
        CertificateState::Fine { .. }
        | CertificateState::Ordering { .. }
        | CertificateState::Failed { .. }
        | CertificateState::Budget { .. }
        | CertificateState::Nobody => None,
    });
    let missing: Vec<_> = missing.flatten().map(|record| format!("  missing: {record}\n")).collect();
    if missing.is_empty() {
        return "DNS leads here. `doorward status` shows how the certificates are doing.".to_owned();
    }
    format!(
        "{}\nCertificates are ordered as soon as DNS says so; nothing needs to be started anew. `doorward doctor` looks again.",
        missing.concat()
    )
}

fn choices() -> &'static str {
    "Without a domain, browsers find no name here and warn about the certificate. The choices:\n\n\
     \x20 1. A name of your own, or a free one that follows your address (desec.io, duckdns.org, dynv6.com):\n\
     \x20    `doorward serve --domain NAME`, and certificates take care of themselves.\n\
     \x20 2. A certificate for the bare public address: `addresses = [\"203.0.113.7\"]` under [certificates] in\n\
     \x20    gateway.toml. Let's Encrypt gives them for six days at a time; port 443 must be reached from outside.\n\
     \x20 3. Nothing: agents do not mind, and services on TCP and UDP ports work as they are."
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_control::SetReport;

    #[test]
    fn the_records_stand_in_columns() {
        let record = |name: &str, kind, value: &str| DnsRecord { name: name.to_owned(), kind, value: value.to_owned() };
        let text = table(&[record("gw.net", "A", "203.0.113.7"), record("*.gw.net", "AAAA", "2001:db8::7")]);
        assert!(text.contains("\n  gw.net    A      203.0.113.7\n  *.gw.net  AAAA   2001:db8::7\n"), "{text}");
    }

    #[test]
    fn what_is_missing_is_said_once_each() {
        let set = |state| SetReport { names: "gw.net".to_owned(), held_until: None, state };
        let missing = vec!["gw.net A 203.0.113.7 (DNS does not know the name)".to_owned()];
        let report =
            CertificateReport { sets: vec![set(CertificateState::Records { missing })], authorities: Vec::new() };
        let text = standing(&report);
        assert_eq!(text.matches("missing: gw.net A 203.0.113.7").count(), 1, "{text}");
        let fine = CertificateReport { sets: vec![set(CertificateState::Nobody)], authorities: Vec::new() };
        assert!(standing(&fine).starts_with("DNS leads here"));
    }
}
