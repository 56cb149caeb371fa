//! `doorward open DEVICE/SERVICE`: on one's own machine.

use crate::admin::ServicePath;
use crate::admin::portal::{self, Portal};
use crate::open::{self, Opened, Reached, Session, Wish};
use crate::terminal;
use anyhow::Context;
use clap::Args;
use doorward_core::span::parse_span;
use jiff::Timestamp;
use std::io::{IsTerminal, Write};
use std::process::Stdio;
use std::time::Duration;

pub(super) const EXAMPLES: &str = "\
Asks the portal that `doorward login` named, with a token for sessions. What is
no web page is carried over HTTPS to a port of this machine, for as long as the
session lasts. Others who use this machine reach that port, too. Ctrl-C ends it.

Examples:
  doorward open zumi01/jupyter --for 1h        in the browser
  doorward open zumi01/ssh --port 2201         then: ssh -p 2201 pi@127.0.0.1
  doorward open zumi01/ssh --keep              the session outlasts Ctrl-C";

#[derive(Debug, Args)]
pub(super) struct OpenArgs {
    /// DEVICE/SERVICE, as `doorward services` lists it.
    service: ServicePath,
    /// How long, as 30m or 2h.
    #[arg(long = "for", value_name = "SPAN", value_parser = span, default_value = "1h")]
    length: String,
    /// The port of this machine [default: one that is free].
    #[arg(long, value_name = "PORT", default_value_t = 0, hide_default_value = true)]
    port: u16,
    /// Does not end the session when it ends itself.
    #[arg(long)]
    keep: bool,
    /// Prints a web service's address and opens no browser.
    #[arg(long)]
    no_browser: bool,
}

/// What is passed on as it was written.
fn span(given: &str) -> Result<String, String> {
    parse_span(given).map(|_| given.to_owned())
}

/// Why it is over.
enum Over {
    Hand,
    Time,
    Elsewhere,
}

impl OpenArgs {
    pub(super) async fn run(self) -> anyhow::Result<()> {
        let portal = Portal::read(&portal::file())?;
        let portal = portal.context("nobody is logged in: `doorward login https://PORTAL` first")?;
        let wish = Wish { service: self.service.clone(), length: self.length, port: self.port };
        let mut opened = open::open(&portal, &wish).await?;
        terminal::print(&described(&self.service, &opened, Timestamp::now()))?;
        if let (Reached::Web(address), false) = (&opened.reached, self.no_browser) {
            show(address);
        }
        let over = wait(&mut opened).await?;
        let Some(session) = &opened.session else { return terminal::print("Closed.\n") };
        match over {
            Over::Hand if self.keep => terminal::print(&format!("Session {} stays open.\n", session.id())),
            Over::Hand => {
                session.end().await?;
                terminal::print("The session is over.\n")
            }
            Over::Time => terminal::print("The session is over: its time has run out.\n"),
            Over::Elsewhere => terminal::print("The session is over: it was ended elsewhere.\n"),
        }
    }
}

fn described(service: &ServicePath, opened: &Opened, now: Timestamp) -> String {
    let until = match &opened.session {
        None => "while this runs".to_owned(),
        Some(session) => {
            format!("until {} (another {}), as session {}", session.until(), left(session, now), session.id())
        }
    };
    let mut text = format!("{service} is open {until}.\n");
    match &opened.reached {
        Reached::Web(address) => text += &format!("  {address}\n"),
        Reached::Port { protocol, local } => {
            text += &format!("  {protocol}  {local}\n");
            if service.service == "ssh" {
                text += &format!("  ssh -p {} USER@{}\n", local.port(), local.ip());
            }
        }
    }
    if let Some(reach) = opened.session.as_ref().and_then(Session::reach) {
        text += &format!("Without this program:\n{}", reach.described());
    }
    text + "Ctrl-C ends it.\n"
}

async fn wait(opened: &mut Opened) -> anyhow::Result<Over> {
    let Opened { session, troubles, .. } = opened;
    let mut second = tokio::time::interval(Duration::from_secs(1));
    let watching = watch(session.clone());
    tokio::pin!(watching);
    loop {
        tokio::select! {
            pressed = tokio::signal::ctrl_c() => {
                pressed?;
                say("");
                return Ok(Over::Hand);
            }
            Some(trouble) = troubles.recv() => {
                say("");
                eprintln!("A connection failed: {trouble}");
            }
            changed = &mut watching => match changed {
                Some(changed) => {
                    watching.set(watch(Some(changed.clone())));
                    *session = Some(changed);
                }
                None => {
                    say("");
                    return Ok(Over::Elsewhere);
                }
            },
            _ = second.tick() => if let Some(session) = session {
                let now = Timestamp::now();
                if session.until() <= now {
                    say("");
                    return Ok(Over::Time);
                }
                say(&format!("{} left", left(session, now)));
            },
        }
    }
}

/// As it is when it changed; `None`: it is over. Without one nothing changes.
async fn watch(session: Option<Session>) -> Option<Session> {
    let Some(mut session) = session else { return std::future::pending().await };
    session.changed().await.map(|_| session)
}

/// The countdown has one line, which whatever comes after it begins anew.
fn say(text: &str) {
    let mut err = std::io::stderr();
    if err.is_terminal() {
        let _ = write!(err, "\r\x1b[K{text}");
        let _ = err.flush();
    }
}

fn left(session: &Session, now: Timestamp) -> String {
    let seconds = session.until().duration_since(now).as_secs().max(0);
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

/// Where there is a desktop. Elsewhere the address was printed.
fn show(address: &str) {
    let is_desktop = ["DISPLAY", "WAYLAND_DISPLAY"].iter().any(|name| std::env::var_os(name).is_some());
    if is_desktop {
        let mut browser = std::process::Command::new("xdg-open");
        let browser = browser.arg(address).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let _ = browser.spawn();
    }
}
