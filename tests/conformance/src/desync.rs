//! The corpus of AWS's http-desync-guardian: requests with a verdict each. The gateway may refuse one or pass exactly
//! one strictly framed request on; nothing ambiguous ever reaches the target.

use crate::{Chapter, HOST, Site, setting};
use anyhow::{Context, Result, ensure};
use data_encoding::BASE64;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

#[derive(Deserialize)]
struct Case {
    name: String,
    tier: String,
    /// Bytes in base 64.
    method: String,
    uri: String,
    version: String,
    headers: Vec<(String, String)>,
}

#[derive(Default)]
struct Count {
    refused: usize,
    passed: usize,
}

/// The files are YAML, which Python reads.
const READ: &str = r#"
import base64, glob, json, sys, yaml
code = lambda value: base64.b64encode(str(value if value is not None else "").encode("latin-1", "replace")).decode()
cases = []
for path in sorted(glob.glob(sys.argv[1] + "/*.yaml")):
    for case in yaml.safe_load(open(path)) or []:
        headers = [(code(h["name"]), code(h["value"])) for h in case.get("headers") or []]
        cases.append(dict(name=case["name"], tier=case["expected"]["tier"], headers=headers,
            **{k: code(case.get(k)) for k in ("method", "uri", "version")}))
print(json.dumps(cases))
"#;

pub(crate) async fn run() -> Result<Chapter> {
    let cases = read(Path::new(&setting("DOORWARD_DESYNC_CORPUS")?))?;
    ensure!(cases.len() > 100, "the corpus has {} cases", cases.len());
    let site = Site::start().await;
    let (mut counts, mut failures) = (BTreeMap::<&str, Count>::new(), Vec::new());
    let mut strict = Vec::new();
    for case in &cases {
        let before = site.page.requests().len();
        let answer = send(&site, &bytes_of(case)?).await?;
        let reached = &site.page.requests()[before..];
        let count = counts.entry(case.tier.as_str()).or_default();
        let is_framed_well = reached.len() == 1 && !is_doubtful(&reached[0].head);
        match reached {
            [] if !answer.starts_with("HTTP/1.1 2") => {
                count.refused += 1;
                if case.tier == "Compliant" {
                    let answer = if answer.is_empty() { "waited for the rest of its body" } else { &answer };
                    strict.push(format!("- {}: {answer}\n", case.name));
                }
            }
            _ if is_framed_well => count.passed += 1,
            _ => failures.push(format!("{} ({}): {} requests, {answer:?}", case.name, case.tier, reached.len())),
        }
        if case.tier == "Severe" && !reached.is_empty() {
            failures.push(format!("{}: severe, and it reached the target: {:?}", case.name, reached[0].head));
        }
    }
    let mut text = format!(
        "The {} requests of AWS's http-desync-guardian 0.1.3, through the gateway to a recording target. Passed means: \
         exactly one strictly framed request arrived. Ambiguous ones that arrived: {}.\n\n\
         | verdict of the corpus | refused | passed, unambiguous |\n|---|---|---|\n",
        cases.len(),
        failures.len()
    );
    for (tier, count) in &counts {
        text.push_str(&format!("| {tier} | {} | {} |\n", count.refused, count.passed));
    }
    text.push_str(&format!("\nCompliant, and refused all the same:\n\n{}", strict.concat()));
    Ok(Chapter { title: "Request smuggling", text, failures })
}

fn read(folder: &Path) -> Result<Vec<Case>> {
    let output = Command::new("/usr/bin/python3").args(["-c", READ]).arg(folder).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).context("the corpus")
}

/// Host and a body of the length that is claimed are ours: without them every case would be refused for their lack.
fn bytes_of(case: &Case) -> Result<Vec<u8>> {
    let decode = |text: &str| BASE64.decode(text.as_bytes()).context("base 64");
    let mut bytes = [decode(&case.method)?, decode(&case.uri)?, decode(&case.version)?].join(&b' ');
    bytes.extend_from_slice(b"\r\n");
    let (mut has_host, mut body) = (false, Vec::new());
    for (name, value) in &case.headers {
        let (name, mut value) = (decode(name)?, decode(value)?);
        let is = |other: &[u8]| name.eq_ignore_ascii_case(other);
        if is(b"host") && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b".-:".contains(byte)) && !has_host {
            value = HOST.into();
        }
        has_host |= is(b"host");
        if is(b"transfer-encoding") && value.trim_ascii().eq_ignore_ascii_case(b"chunked") {
            body = b"0\r\n\r\n".to_vec();
        } else if is(b"content-length")
            && let Some(length) = str::from_utf8(&value).ok().and_then(|text| text.trim().parse::<usize>().ok())
            && length < 1_000_000
        {
            body = vec![b'x'; length];
        }
        bytes.extend([&name[..], b": ", &value, b"\r\n"].concat());
    }
    if !has_host {
        bytes.extend(format!("Host: {HOST}\r\n").as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend(body);
    Ok(bytes)
}

async fn send(site: &Site, bytes: &[u8]) -> Result<String> {
    let mut socket = TcpStream::connect(site.lab.http()).await?;
    let _ = socket.write_all(bytes).await;
    let mut answer = vec![0; 4096];
    // A case that promises more than it sends gets no answer before its time is over.
    let reading = tokio::time::timeout(Duration::from_secs(1), socket.read(&mut answer)).await;
    let length = reading.map_or(0, |read| read.unwrap_or(0));
    Ok(String::from_utf8_lossy(&answer[..length]).lines().next().unwrap_or_default().to_owned())
}

/// Whether the head that arrived could be read in two ways.
fn is_doubtful(head: &str) -> bool {
    let lines: Vec<&str> = head.trim_end_matches("\r\n").split("\r\n").collect();
    let count = |wanted: &str| {
        lines
            .iter()
            .skip(1)
            .filter(|line| line.split(':').next().is_some_and(|n| n.trim().eq_ignore_ascii_case(wanted)))
            .count()
    };
    let framings = count("content-length") + count("transfer-encoding");
    let is_clean =
        |line: &&str| !line.chars().any(|c| c.is_ascii_control() && c != '\t') && !line.starts_with([' ', '\t']);
    framings > 1 || count("host") != 1 || !lines.iter().all(is_clean)
}
