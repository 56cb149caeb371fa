//! Instructions, as valgrind's callgrind counts them: of all threads, and the same in every run but for a few.
//!
//! A child opens a store under callgrind, which counts nothing yet, and names the deeds that it is ready for. We switch
//! counting on, let it do one so many times, and ask for what was counted.

use super::deeds::{self, Deed, House};
use super::store::{self, GROWN, SMALL, Size};
use super::{COUNTED, Figure};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const TIMES: usize = 10;

struct Valgrind {
    child: Child,
    tell: ChildStdin,
    said: Lines<BufReader<ChildStdout>>,
    folder: PathBuf,
    dumps: usize,
}

/// `None`: there is no valgrind here.
pub(super) async fn by_instructions() -> Result<Option<Vec<Figure>>> {
    if Command::new("callgrind_control").arg("--version").stdout(Stdio::null()).status().await.is_err() {
        return Ok(None);
    }
    let folder = tempfile::tempdir()?;
    let mut small = Valgrind::start(&folder.path().join("small"), &SMALL).await?;
    let mut grown = Valgrind::start(&folder.path().join("grown"), &GROWN).await?;
    let mut figures = Vec::new();
    for deed in deeds::ALL {
        let (of_small, of_grown) = (small.count().await?, grown.count().await?);
        figures.push(Figure { deed, small: of_small, grown: of_grown });
    }
    small.end().await?;
    grown.end().await?;
    Ok(Some(figures))
}

impl Valgrind {
    async fn start(folder: &Path, size: &Size) -> Result<Self> {
        store::fill(folder, size).await?;
        let out = format!("--callgrind-out-file={}", folder.join("counted").display());
        let mut child = Command::new("valgrind")
            .args(["--quiet", "--tool=callgrind", "--instr-atstart=no", &out])
            .arg(std::env::current_exe()?)
            .args([COUNTED.as_ref(), folder.as_os_str()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (tell, said) = (child.stdin.take().context("its input")?, child.stdout.take().context("its output")?);
        let mut valgrind =
            Self { child, tell, said: BufReader::new(said).lines(), folder: folder.to_owned(), dumps: 0 };
        valgrind.hears().await?;
        Ok(valgrind)
    }

    /// How many instructions the next deed takes.
    async fn count(&mut self) -> Result<f64> {
        self.control(&["-i", "on"]).await?;
        self.tell.write_all(b"go\n").await?;
        self.hears().await?;
        self.control(&["-d"]).await?;
        self.control(&["-i", "off"]).await?;
        self.tell.write_all(b"next\n").await?;
        self.hears().await?;
        self.dumps += 1;
        let path = self.folder.join(format!("counted.{}", self.dumps));
        let dump = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let total = dump.lines().find_map(|line| line.strip_prefix("totals: ")).context("a dump has a total")?;
        Ok(total.trim().parse::<f64>()? / TIMES as f64)
    }

    async fn control(&self, words: &[&str]) -> Result<()> {
        let id = self.child.id().context("it is over")?.to_string();
        let done = Command::new("callgrind_control").args(words).arg(id).output().await?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        Ok(())
    }

    async fn hears(&mut self) -> Result<()> {
        self.said.next_line().await?.map(drop).context("the child that is counted ended")
    }

    async fn end(mut self) -> Result<()> {
        drop(self.tell);
        ensure!(self.child.wait().await?.success());
        Ok(())
    }
}

/// In the child.
pub(super) async fn obey(house: &House) -> Result<()> {
    let mut told = std::io::stdin().lock().lines();
    for deed in deeds::ALL {
        // What is made once and kept is no part of the cost.
        warm(house, deed).await?;
        say("ready")?;
        if told.next().transpose()?.is_none() {
            return Ok(());
        }
        for _ in 0..TIMES {
            house.run(deed).await?;
        }
        say("done")?;
        told.next().transpose()?.context("nobody listens")?;
    }
    say("over")
}

async fn warm(house: &House, deed: Deed) -> Result<()> {
    for _ in 0..3 {
        house.run(deed).await?;
    }
    Ok(())
}

fn say(word: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{word}")?;
    out.flush()?;
    Ok(())
}
