//! Invites as people meet them: printed with a QR code, read from a prompt, a file, stdin or the environment. Never
//! from the command line: every user of a machine can read that.

use anyhow::{Context, bail};
use doorward_core::invite::Invite;
use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};
use std::io::{BufRead, IsTerminal, Read};
use std::path::Path;

pub const ENVIRONMENT: &str = "DOORWARD_INVITE";
const MAX_TEXT: u64 = 4096;

/// The QR code of a text, for a terminal with light letters on a dark ground; `None` if it is too long for one.
pub fn qr_code(text: &str) -> Option<String> {
    let code = QrCode::with_error_correction_level(text.as_bytes(), EcLevel::L).ok()?;
    Some(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).quiet_zone(true).build())
}

/// Takes the invite from `source` ("-" is stdin, otherwise a file), else from the environment, else asks for it.
pub fn read(source: Option<&Path>) -> anyhow::Result<Invite> {
    let text = match source {
        Some(path) if path == Path::new("-") => read_limited(std::io::stdin())?,
        Some(path) => {
            let file = std::fs::File::open(path);
            read_limited(file.with_context(|| format!("the invite file {} cannot be read", path.display()))?)?
        }
        None => match std::env::var(ENVIRONMENT) {
            Ok(text) => text,
            Err(_) => ask()?,
        },
    };
    Ok(Invite::parse(&text)?)
}

fn read_limited(from: impl Read) -> anyhow::Result<String> {
    let mut text = String::new();
    from.take(MAX_TEXT).read_to_string(&mut text).context("the invite is not text")?;
    Ok(text)
}

fn ask() -> anyhow::Result<String> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        bail!(
            "no invite was given: pipe it in with `doorward join -`, name its file with `doorward join FILE`, \
             or set {ENVIRONMENT}"
        );
    }
    eprint!("Paste the invite (from `doorward invite` on the gateway) and press Enter:\n> ");
    let mut line = String::new();
    stdin.lock().take(MAX_TEXT).read_line(&mut line)?;
    Ok(line)
}
