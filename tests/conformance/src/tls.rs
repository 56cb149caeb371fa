//! sslyze and testssl.sh, against a certificate that a root of ours has signed as an authority would. Both are told to
//! trust that root, and nothing is left out of what they find.

use crate::{Chapter, Site, setting, tools};
use anyhow::{Context, Result};
use doorward::serve::settings::Certificate;
use doorward_lab::{DOMAIN, Shape};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use rcgen::{
    BasicConstraints, CertificateParams, CrlDistributionPoint, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use std::path::PathBuf;
use std::time::Duration;
use tempfile::TempDir;

const PROFILES: [&str; 2] = ["intermediate", "modern"];
/// What browsers are told by default.
const HSTS: Duration = Duration::from_secs(183 * 86_400);

struct Signed {
    site: Site,
    root: String,
    _folder: TempDir,
}

impl Signed {
    async fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let at = |name: &str| -> PathBuf { folder.path().join(name) };
        let (root_key, leaf_key) = (KeyPair::generate()?, KeyPair::generate()?);
        let mut root = params(Vec::new(), "Conformance Root");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        root.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let root_certificate = root.self_signed(&root_key)?;
        let leaf = leaf().signed_by(&leaf_key, &Issuer::new(root, root_key))?;
        std::fs::write(at("root.pem"), root_certificate.pem())?;
        std::fs::write(at("chain.pem"), leaf.pem())?;
        std::fs::write(at("key.pem"), leaf_key.serialize_pem())?;
        let certificate = Some(Certificate { chain: at("chain.pem"), key: at("key.pem") });
        let site = Site::of(Shape { certificate, hsts: HSTS, ..Shape::default() }, Vec::new()).await;
        Ok(Self { site, root: at("root.pem").display().to_string(), _folder: folder })
    }
}

fn leaf() -> CertificateParams {
    let mut leaf = params(vec![DOMAIN.to_owned(), format!("*.{DOMAIN}")], DOMAIN);
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Authorities say where they take certificates back; nobody looks there from here.
    leaf.crl_distribution_points = vec![CrlDistributionPoint { uris: vec![format!("http://{DOMAIN}/root.crl")] }];
    leaf.use_authority_key_identifier_extension = true;
    leaf
}

fn params(names: Vec<String>, subject: &str) -> CertificateParams {
    let mut params = CertificateParams::new(names).unwrap_or_default();
    params.distinguished_name.push(DnType::CommonName, subject);
    // Ninety days, as authorities give them.
    let on = |(year, month, day)| date_time_ymd(year, month, day);
    (params.not_before, params.not_after) = (on(day_in(-1)), on(day_in(89)));
    params
}

/// Year, month and day.
fn day_in(days: i64) -> (i32, u8, u8) {
    let date = Timestamp::now().saturating_add(SignedDuration::from_hours(24 * days)).unwrap_or(Timestamp::MAX);
    let date = date.to_zoned(TimeZone::UTC).date();
    (date.year().into(), date.month().unsigned_abs(), date.day().unsigned_abs())
}

pub(crate) async fn sslyze() -> Result<Chapter> {
    let signed = Signed::start().await?;
    let server = signed.site.lab.https().to_string();
    let (mut text, mut failures) = (String::new(), Vec::new());
    for profile in PROFILES {
        let (mozilla, root) = (format!("--mozilla_config={profile}"), format!("--certinfo_ca_file={}", signed.root));
        let output = tools::run(setting("DOORWARD_SSLYZE")?, &[&mozilla, &root, "--sni", DOMAIN, &server]).await?;
        let verdict = output.find("COMPLIANCE AGAINST").map_or(output.as_str(), |at| &output[at..]);
        let is_compliant = verdict.contains(": OK - Compliant");
        if profile == PROFILES[0] && !is_compliant {
            failures.push(format!("sslyze, {profile}: {}", verdict.trim()));
        }
        let verdict = verdict.replace(&server, &format!("{DOMAIN}:443"));
        text.push_str(&format!("Mozilla's {profile} profile:\n\n```\n{}\n```\n\n", verdict.trim()));
    }
    Ok(Chapter { title: "TLS: sslyze", text, failures })
}

pub(crate) async fn testssl() -> Result<Chapter> {
    let signed = Signed::start().await?;
    let file = signed.site.lab.directory.path().join("testssl.json");
    let (out, url) = (file.display().to_string(), format!("https://{DOMAIN}:{}", signed.site.lab.https().port()));
    let arguments = ["--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--add-ca", &signed.root];
    tools::run("testssl", &[&arguments[..], &["--jsonfile", &out, &url]].concat()).await?;
    let findings: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(&file).context("testssl.sh wrote nothing")?)?;
    let of = |severities: &[&str]| -> Vec<String> {
        let is_of = |f: &&serde_json::Value| f["severity"].as_str().is_some_and(|s| severities.contains(&s));
        let word = |f: &serde_json::Value| format!("{} ({})", f["id"], f["finding"]).replace('"', "");
        findings.iter().filter(is_of).map(word).collect()
    };
    let (above, low) = (of(&["MEDIUM", "HIGH", "CRITICAL", "FATAL"]), of(&["LOW"]));
    let list = |found: &[String]| found.iter().map(|word| format!("- {word}\n")).collect::<String>();
    let text = format!(
        "testssl.sh 3.0: {} findings, {} above LOW.\n{}\nLOW:\n\n{}",
        findings.len(),
        above.len(),
        list(&above),
        list(&low)
    );
    let failures = above.iter().map(|finding| format!("testssl.sh: {finding}")).collect();
    Ok(Chapter { title: "TLS: testssl.sh", text, failures })
}
