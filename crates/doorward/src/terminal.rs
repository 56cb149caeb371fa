//! Talking to whoever sits at the terminal, or to the pipe in their place. Secrets are read without echo, or from
//! stdin; never from the command line, where every user of this machine could read them.

use anyhow::{Context, bail};
use doorward_core::Secret;
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::io::{BufRead, IsTerminal, Read, Write};
use std::path::Path;
use zeroize::Zeroizing;

const MAX_SECRET: usize = 1024;

/// Writes to stdout. Whoever stops reading (`doorward audit | head`) wants no more, and that is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("stdout"),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// An error and its causes, save for those that the words before have said already.
pub fn story(error: &anyhow::Error) -> String {
    let mut told = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if told.is_empty() {
            told = cause;
        } else if !told.contains(&cause) {
            told = format!("{told}: {cause}");
        }
    }
    told
}

/// Text from elsewhere without what a terminal would take for a command.
pub fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// `1 device`, `2 devices`.
pub fn counted(number: usize, thing: &str) -> String {
    format!("{number} {thing}{}", if number == 1 { "" } else { "s" })
}

/// A secret chosen now: asked for twice at a terminal, else the next line of stdin.
pub async fn new_secret(what: String) -> anyhow::Result<Secret<String>> {
    off_the_runtime(move || {
        if !std::io::stdin().is_terminal() {
            return next_line(&what);
        }
        loop {
            let first = ask(&format!("{}: ", capitalised(&what)))?;
            let again = ask("The same again: ")?;
            if first == again {
                return Ok(first);
            }
            eprintln!("The two differ. Once more:");
        }
    })
    .await
}

/// A secret that exists: asked for once at a terminal, else the next line of stdin.
pub async fn known_secret(what: String) -> anyhow::Result<Secret<String>> {
    off_the_runtime(move || {
        let is_terminal = std::io::stdin().is_terminal();
        if is_terminal { ask(&format!("{}: ", capitalised(&what))) } else { next_line(&what) }
    })
    .await
}

/// The first line of a file.
pub fn secret_in(file: &Path, what: &str) -> anyhow::Result<Secret<String>> {
    let text = std::fs::File::open(file).with_context(|| format!("{} cannot be read", file.display()))?;
    first_line(std::io::BufReader::new(text), what).with_context(|| file.display().to_string())
}

async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> anyhow::Result<T> + Send + 'static,
) -> anyhow::Result<T> {
    tokio::task::spawn_blocking(work).await?
}

fn next_line(what: &str) -> anyhow::Result<Secret<String>> {
    first_line(std::io::stdin().lock(), what).context("stdin")
}

fn first_line(from: impl BufRead, what: &str) -> anyhow::Result<Secret<String>> {
    let mut line = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 2));
    from.take(MAX_SECRET as u64 + 2).read_until(b'\n', &mut line)?;
    while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
        line.pop();
    }
    to_secret(&line, what)
}

fn to_secret(bytes: &[u8], what: &str) -> anyhow::Result<Secret<String>> {
    match std::str::from_utf8(bytes) {
        _ if bytes.is_empty() => bail!("there is no {what}"),
        _ if bytes.len() > MAX_SECRET => bail!("the {what} is longer than {MAX_SECRET} bytes"),
        Ok(text) => Ok(Secret::new(text.to_owned())),
        Err(_) => bail!("the {what} is not UTF-8 text"),
    }
}

fn capitalised(what: &str) -> String {
    let mut letters = what.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Asks at the terminal until something is typed.
fn ask(prompt: &str) -> anyhow::Result<Secret<String>> {
    loop {
        eprint!("{prompt}");
        let quiet = Quiet::begin()?;
        let typed = read_typed(std::io::stdin().lock());
        drop(quiet);
        eprintln!();
        let typed = typed?;
        if !typed.is_empty() {
            return to_secret(&typed, "secret");
        }
    }
}

/// The terminal without echo. Signals come as characters, so that Ctrl-C cannot leave it silent.
struct Quiet {
    before: Termios,
}

impl Quiet {
    fn begin() -> anyhow::Result<Self> {
        let before = tcgetattr(std::io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON | LocalModes::ISIG;
        quiet.special_codes[SpecialCodeIndex::VMIN] = 1;
        quiet.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(std::io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self { before })
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // There is nobody left to tell.
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.before);
    }
}

/// Reads up to Enter, with the keys that people use while they type blindly.
fn read_typed(mut from: impl Read) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    let mut typed = Zeroizing::new(Vec::with_capacity(MAX_SECRET + 2));
    let mut byte = [0];
    loop {
        if from.read(&mut byte)? == 0 {
            return Ok(typed);
        }
        match byte[0] {
            b'\r' | b'\n' => return Ok(typed),
            // Ctrl-C, Ctrl-\, Ctrl-Z, and Ctrl-D with nothing typed.
            0x03 | 0x1c | 0x1a => bail!("interrupted"),
            0x04 if typed.is_empty() => bail!("nothing was typed"),
            // Ctrl-U; Backspace, over a whole character of UTF-8.
            0x15 => typed.clear(),
            0x7f | 0x08 => while typed.pop().is_some_and(|last| last & 0xc0 == 0x80) {},
            other if typed.len() <= MAX_SECRET => typed.push(other),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_blindly_can_be_corrected_and_given_up() {
        let typed = |keys: &str| read_typed(keys.as_bytes()).map(|typed| String::from_utf8(typed.to_vec()).unwrap());
        assert_eq!(typed("sesamé\x7f\x7fm\r").unwrap(), "sesam");
        assert_eq!(typed("wrong\x15right\nmore").unwrap(), "right");
        assert_eq!(typed("half\x03").unwrap_err().to_string(), "interrupted");
        assert!(typed("\x04").is_err());
        assert_eq!(typed(&"x".repeat(2000)).unwrap().len(), MAX_SECRET + 1, "and is refused as too long");
    }

    #[test]
    fn a_secret_is_one_line_of_text() {
        let line = |text: &[u8]| first_line(text, "passphrase").map(|secret| secret.expose().clone());
        assert_eq!(line(b"correct horse\r\nsecond\n").unwrap(), "correct horse");
        assert_eq!(line(b"no newline").unwrap(), "no newline");
        for bad in [&b""[..], b"\n", b"\xff\n", &[b'x'; 2000]] {
            assert!(line(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn an_error_says_nothing_twice() {
        let cause = std::io::Error::other("the disk is gone");
        let error = anyhow::Error::new(cause).context("x cannot be read: the disk is gone").context("while starting");
        assert_eq!(story(&error), "while starting: x cannot be read: the disk is gone");
    }

    #[test]
    fn what_strangers_wrote_moves_no_cursor() {
        assert_eq!(plain("a\x1b[2Jb\u{9b}c\n"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}");
    }
}
