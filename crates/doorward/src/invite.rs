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
            refuse_bare_invite(path)?;
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

/// Somebody who gave the invite where its file is wanted showed it to this machine's other users. It is not repeated:
/// errors end up in logs.
fn refuse_bare_invite(given: &Path) -> anyhow::Result<()> {
    if given.to_str().is_some_and(|text| Invite::parse(text).is_ok()) && !given.exists() {
        bail!(
            "this is the invite itself, and whatever stands on a command line can be read by every user of this \
             machine: run `doorward join` and paste it when asked. If somebody may have seen it, take it back on the \
             gateway with `doorward invites revoke`"
        );
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::Secret;
    use doorward_core::site::{Address, Fingerprint};

    #[test]
    fn an_invite_on_the_command_line_is_refused_and_not_repeated() {
        let addresses = vec![Address::parse("gw.example.org").unwrap()];
        let invite = Invite { addresses, site: Fingerprint([7; 32]), secret: Secret::new([9; 16]) };
        let text = invite.to_text();
        let error = format!("{:#}", read(Some(Path::new(text.expose()))).unwrap_err());
        assert!(error.contains("paste it") && !error.contains(&text.expose()[..20]), "{error}");
        let error = format!("{:#}", read(Some(Path::new("nowhere.txt"))).unwrap_err());
        assert!(error.contains("nowhere.txt"), "{error}");
    }
}
