//! What `doorward serve` says about the names that lead to it: which records DNS needs, which are missing, and without a
//! domain what there is to choose from.

use super::settings::is_private;
use doorward_control::{CertificateReport, CertificateState, Control};
use doorward_gateway::DnsRecord;
use std::net::IpAddr;
use std::time::Duration;
use tokio::time::timeout;

/// For DNS to answer, or not.
const PATIENCE: Duration = Duration::from_secs(15);

pub(super) async fn explain(control: &Control, needed: &[DnsRecord]) {
    if control.site().domain.as_ref().is_none_or(|domain| domain.as_str() == "localhost") {
        let own = control.own_authority().borrow().clone();
        let ips: Vec<_> = own.iter().flat_map(|own| own.scope.addresses.iter().copied()).collect();
        println!("\n{}", choices(&ips));
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
        "{}\nCertificates are ordered as soon as DNS says so; nothing needs to be started anew. Until then the\n\
         gateway's own authority signs, and browsers warn (`doorward ca`). `doorward doctor` looks again.",
        missing.concat()
    )
}

/// `ips`: what this machine speaks from.
fn choices(ips: &[IpAddr]) -> String {
    let public = ips.iter().find(|ip| ip.is_ipv4() && !is_private(**ip));
    let address = public.map_or_else(|| "203.0.113.7".to_owned(), IpAddr::to_string);
    let whose = if public.is_some() { "" } else { "     (your router's public address in its place)" };
    format!(
        "Without a domain, names end in .localhost, which other machines do not find, and browsers warn. The choices:\n\n\
         \x20 1. A name: of your own, or a free one from a dynamic DNS service. Two records lead everything here:\n\
         \x20      NAME A {address}  and  *.NAME CNAME NAME{whose}\n\
         \x20    A service that gives only the one name will do: have your services listen below a path there, by\n\
         \x20      entrances = [{{ path = {{ prefix = \"/printer1/\" }} }}]     in agent.toml\n\
         \x20    Then: doorward serve --domain NAME     Certificates take care of themselves.\n\n\
         \x20 2. The bare public address, from an authority that certifies addresses (RFC 8738; Let's Encrypt does, for\n\
         \x20    six days at a time). Port 80 or 443 must be reached from outside. In gateway.toml:\n\
         \x20      [certificates]\n\
         \x20      addresses = [\"{address}\"]\n\
         \x20    Services are below paths there, as with one name.\n\n\
         \x20 3. The gateway's own authority, which signs here already. Where its root is installed, nothing warns:\n\
         \x20      doorward ca     prints it, and says how on each system\n\n\
         Agents mind none of this, and services on TCP and UDP ports work as they are.\n"
    )
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

    #[test]
    fn without_a_domain_each_choice_names_the_next_step() {
        let text = choices(&["2001:db8::7".parse().unwrap(), "192.0.2.7".parse().unwrap()]);
        for part in
            ["doorward serve --domain NAME", "addresses = [\"192.0.2.7\"]", "doorward ca", "prefix = \"/printer1/\""]
        {
            assert!(text.contains(part), "{part}: {text}");
        }
        let widest = text.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(120), "{widest:?}: {text}");
    }
}
