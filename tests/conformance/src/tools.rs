//! Programs of others: httpwg, sslyze, testssl.sh.

use crate::{Chapter, Site, setting};
use anyhow::{Context, Result};
use std::ffi::OsStr;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// What HAProxy 2.6 passes of 107.
const ENOUGH: usize = 98;

async fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String> {
    let program = program.as_ref();
    let running = Command::new(program).args(arguments).env("PYTHONWARNINGS", "ignore").kill_on_drop(true).output();
    let output = timeout(Duration::from_secs(600), running).await?.with_context(|| format!("{}", program.display()))?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// RFC 9113, with prior knowledge over plain TCP.
pub(crate) async fn http2() -> Result<Chapter> {
    let site = Site::start().await;
    let output = run(setting("DOORWARD_HTTPWG")?, &["-a", &site.lab.http().to_string()]).await?;
    let plain = without_colours(&output);
    let passed = plain.lines().filter(|line| line.contains('✅') || line.contains("PASS")).count();
    let failed: Vec<&str> = plain.lines().filter(|line| line.contains('❌') || line.contains("FAIL")).collect();
    let names = failed.iter().filter_map(|line| line.split_once(":: ")).map(|(_, name)| format!("- {name}\n"));
    let text = format!("httpwg-cli 0.2.5: {passed} passed. Failed:\n\n{}", names.collect::<String>());
    let failures =
        if passed >= ENOUGH { vec![] } else { vec![format!("httpwg: {passed} passed, {ENOUGH} are promised")] };
    Ok(Chapter { title: "HTTP/2", text, failures })
}

pub(crate) async fn sslyze() -> Result<Chapter> {
    let site = Site::start().await;
    let server = format!("{}", site.lab.https());
    let output =
        run(setting("DOORWARD_SSLYZE")?, &["--mozilla_config=intermediate", "--sni", "gw.test", &server]).await?;
    let at = output.find("COMPLIANCE AGAINST").unwrap_or(0);
    // The laboratory's certificate is signed by itself.
    let doubts = output[at..]
        .lines()
        .filter(|line| line.trim_start().starts_with("* "))
        .filter(|line| !line.contains("certificate"));
    let failures: Vec<String> = doubts.map(|line| format!("sslyze: {}", line.trim())).collect();
    let text = format!("sslyze, Mozilla's intermediate profile:\n\n```\n{}\n```\n", output[at..].trim());
    Ok(Chapter { title: "TLS: sslyze", text, failures })
}

pub(crate) async fn testssl() -> Result<Chapter> {
    let site = Site::start().await;
    let file = site.lab.directory.path().join("testssl.json");
    let (out, url) = (file.display().to_string(), format!("https://gw.test:{}", site.lab.https().port()));
    let arguments = ["--quiet", "--color", "0", "--warnings", "off", "--ip", "127.0.0.1", "--jsonfile", &out, &url];
    run("testssl", &arguments).await?;
    let findings: Vec<serde_json::Value> =
        serde_json::from_slice(&std::fs::read(&file).context("testssl.sh wrote nothing")?)?;
    let above = findings.iter().filter(|finding| {
        let id = finding["id"].as_str().unwrap_or_default();
        let severity = finding["severity"].as_str().unwrap_or_default();
        let is_about_signing = id.starts_with("cert")
            || id.contains("CAA")
            || id.starts_with("DNS")
            || id.contains("overall")
            || id.starts_with("HSTS");
        ["MEDIUM", "HIGH", "CRITICAL", "FATAL"].contains(&severity) && !is_about_signing
    });
    let word =
        |finding: &serde_json::Value| format!("{}: {} ({})", finding["severity"], finding["id"], finding["finding"]);
    let failures: Vec<String> = above.map(word).collect();
    let text = format!(
        "testssl.sh 3.0: {} findings, {} above LOW, apart from those about the laboratory's own signature and HSTS.\n{}\n",
        findings.len(),
        failures.len(),
        failures.iter().map(|failure| format!("- {failure}\n")).collect::<String>()
    );
    Ok(Chapter { title: "TLS: testssl.sh", text, failures })
}

pub(crate) fn without_colours(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c == '\u{1b}' {
            rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}
