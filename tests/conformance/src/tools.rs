//! httpwg, and how programs of others are run.

use crate::{Chapter, setting, unlimited};
use anyhow::{Context, Result, ensure};
use doorward_core::names::HostName;
use doorward_core::service::EntranceWish;
use doorward_lab::visitor::get;
use doorward_lab::web::{ok, web};
use doorward_lab::{Lab, Shape, service};
use std::ffi::OsStr;
use std::time::Duration;
use tokio::process::Command;
use tokio::time::timeout;

/// What HAProxy 2.6 passes of 107.
const ENOUGH: usize = 98;

pub(crate) async fn run(program: impl AsRef<OsStr>, arguments: &[&str]) -> Result<String> {
    let program = program.as_ref();
    let running = Command::new(program).args(arguments).env("PYTHONWARNINGS", "ignore").kill_on_drop(true).output();
    let output = timeout(Duration::from_secs(600), running).await?.with_context(|| format!("{}", program.display()))?;
    Ok(String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

/// RFC 9113, with prior knowledge over plain TCP. The suite asks for this host; its page reads whole requests before it
/// answers, else the answer is often there before what the suite does wrong.
const ASKED_FOR: &str = "localhost";

pub(crate) async fn http2() -> Result<Chapter> {
    let lab = Lab::of(Shape { domain: ASKED_FOR, limits: unlimited(), ..Shape::default() }).await;
    let page = web(|_| ok("page")).await;
    let mut offered = service("page", &page.url());
    offered.offer.entrances.push(EntranceWish::Host(HostName::parse(ASKED_FOR)?));
    let _device = lab.device("pi", vec![offered]).await;
    ensure!(get(lab.http(), ASKED_FOR, "/").await.text() == "page", "{ASKED_FOR} is not served");
    let output = run(setting("DOORWARD_HTTPWG")?, &["-a", &lab.http().to_string()]).await?;
    let plain = without_colours(&output);
    let passed = plain.lines().filter(|line| line.contains('✅') || line.contains("PASS")).count();
    let failed: Vec<&str> = plain.lines().filter(|line| line.contains('❌') || line.contains("FAIL")).collect();
    let names = failed.iter().filter_map(|line| line.split_once(":: ")).map(|(_, name)| format!("- {name}\n"));
    let text = format!("httpwg-cli 0.2.5: {passed} passed. Failed:\n\n{}", names.collect::<String>());
    let failures =
        if passed >= ENOUGH { vec![] } else { vec![format!("httpwg: {passed} passed, {ENOUGH} are promised")] };
    Ok(Chapter { title: "HTTP/2", text, failures })
}

fn without_colours(text: &str) -> String {
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
