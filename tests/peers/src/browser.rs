//! A real Chromium without a window, on a node of the world, driven by the DevTools protocol
//! (<https://chromedevtools.github.io/devtools-protocol/>).

mod forms;
mod pipe;
mod review;

use anyhow::{Context, Result, bail, ensure};
use doorward_world::{Node, Program, until};
use pipe::Pipe;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

const TO_ANSWER: Duration = Duration::from_secs(30);

/// Chromium speaks on the file descriptors 3 and 4.
const START: &str = "exec chromium \"$@\" 3<&0 4>&1 </dev/null >&2";

/// The sandbox needs rights of its own, which root's processes and namespaces lack; it only sees pages of ours.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-pipe",
];

/// Whose certificates it takes.
#[derive(Clone, Copy, Debug)]
pub enum Trust<'t> {
    Anybody,
    /// The usual authorities, of which none knows pages of ours, and the roots in these files (PEM).
    Roots(&'t [&'t Path]),
}

pub struct Browser {
    program: Child,
    pipe: Pipe,
    log: PathBuf,
    /// The session of its one tab; before there is one, commands go to the browser itself.
    tab: Option<String>,
    commands: u64,
    is_loaded: bool,
    /// What will be typed into the next password dialogs. Then they are cancelled.
    logins: VecDeque<(String, String)>,
    dialogs: usize,
    problems: Vec<String>,
}

impl Browser {
    /// With a new, empty profile.
    pub fn start(node: &Node) -> Result<Self> {
        Self::trusting(node, Trust::Anybody)
    }

    pub fn trusting(node: &Node, trust: Trust<'_>) -> Result<Self> {
        // Left to the world, which removes it after the last process.
        let profile = tempfile::tempdir_in(node.folder())?.keep();
        let anybody = match trust {
            Trust::Anybody => Some("--ignore-certificate-errors"),
            Trust::Roots(roots) => {
                install(node, &profile, roots)?;
                None
            }
        };
        let log = profile.join("chromium.log");
        let program = Program::new("sh")
            .args(["-c", START, "chromium"])
            .args(FLAGS)
            .args(anybody)
            .args([format!("--user-data-dir={}", profile.display()), "about:blank".to_owned()])
            .env("HOME", &profile)
            .env("TMPDIR", &profile);
        let mut command = node.command(&program)?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut program = command.spawn()?;
        let (stdin, stdout) = (program.stdin.take(), program.stdout.take());
        let pipe = Pipe::new(stdin.context("its input is a pipe")?, stdout.context("its output is a pipe")?);
        let mut browser = Self {
            program,
            pipe,
            log,
            tab: None,
            commands: 0,
            is_loaded: false,
            logins: VecDeque::new(),
            dialogs: 0,
            problems: Vec::new(),
        };
        browser.attach().with_context(|| browser.said())?;
        Ok(browser)
    }

    fn attach(&mut self) -> Result<()> {
        let targets = self.ask("Target.getTargets", json!({}))?;
        let targets = targets["targetInfos"].as_array().context("targets")?;
        let tab = targets.iter().find(|target| target["type"] == "page").context("a tab")?;
        let session = self.ask("Target.attachToTarget", json!({ "targetId": tab["targetId"], "flatten": true }))?;
        self.tab = Some(session["sessionId"].as_str().context("a session")?.to_owned());
        for domain in ["Page", "Runtime", "Log"] {
            self.ask(&format!("{domain}.enable"), json!({}))?;
        }
        // Without a window nothing has the focus by itself.
        self.ask("Emulation.setFocusEmulationEnabled", json!({ "enabled": true }))?;
        // Pages alone: of anything else, its whole body would be told first.
        let pages = json!([{ "resourceType": "Document" }]);
        self.ask("Fetch.enable", json!({ "handleAuthRequests": true, "patterns": pages }))?;
        Ok(())
    }

    /// Opens a page and waits until it has been read and its scripts have run once.
    pub fn open(&mut self, url: &str) -> Result<()> {
        self.is_loaded = false;
        let opened = self.ask("Page.navigate", json!({ "url": url }))?;
        if let Some(error) = opened["errorText"].as_str() {
            bail!("{url}: {error}");
        }
        while !self.is_loaded {
            let message = self.pipe.receive(TO_ANSWER).with_context(|| format!("{url} is not loaded"))?;
            self.hear(&message)?;
        }
        Ok(())
    }

    /// What an expression of JavaScript comes to in the page; promises are waited for.
    pub fn evaluate(&mut self, script: &str) -> Result<Value> {
        let wanted = json!({ "expression": script, "awaitPromise": true, "returnByValue": true });
        let answer = self.ask("Runtime.evaluate", wanted)?;
        ensure!(answer["exceptionDetails"].is_null(), "{script}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub fn until(&mut self, limit: Duration, condition: &str) -> Result<Duration> {
        until(limit, condition, || Ok(self.evaluate(condition)? == true))
    }

    /// The page as text.
    pub fn text(&mut self) -> Result<String> {
        Ok(self.evaluate("document.body.innerText")?.as_str().context("a text")?.to_owned())
    }

    /// The status with which the page was answered.
    pub fn status(&mut self) -> Result<u64> {
        let status = self.evaluate("performance.getEntriesByType('navigation')[0].responseStatus")?;
        status.as_u64().context("a status")
    }

    /// From now on it has a key of its own, as phones and laptops do, which is unlocked whenever it is asked.
    pub fn hold_passkeys(&mut self) -> Result<()> {
        self.ask("WebAuthn.enable", json!({}))?;
        let key = json!({
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": true,
            "hasUserVerification": true,
            "isUserVerified": true,
            "automaticPresenceSimulation": true,
        });
        self.ask("WebAuthn.addVirtualAuthenticator", json!({ "options": key }))?;
        Ok(())
    }

    /// Types this into the next password dialog.
    pub fn will_log_in(&mut self, user: &str, password: &str) {
        self.logins.push_back((user.to_owned(), password.to_owned()));
    }

    /// How many password dialogs there were so far.
    pub fn dialogs(&self) -> usize {
        self.dialogs
    }

    /// Errors in the console so far, and scripts that failed.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Closes the window, as people do.
    pub fn close(mut self) -> Result<()> {
        self.tab = None;
        self.ask("Browser.close", json!({}))?;
        until(TO_ANSWER, "the browser ends", || Ok(self.program.try_wait()?.is_some()))?;
        ensure!(self.program.wait()?.success(), "{}", self.said());
        Ok(())
    }

    fn ask(&mut self, method: &str, parameters: Value) -> Result<Value> {
        let id = self.send(method, parameters)?;
        loop {
            let mut message = self.pipe.receive(TO_ANSWER).with_context(|| method.to_owned())?;
            if message["id"] == id {
                ensure!(message["error"].is_null(), "{method}: {}", message["error"]);
                return Ok(message["result"].take());
            }
            self.hear(&message)?;
        }
    }

    fn send(&mut self, method: &str, parameters: Value) -> Result<u64> {
        self.commands += 1;
        let mut message = json!({ "id": self.commands, "method": method, "params": parameters });
        if let Some(tab) = &self.tab {
            message["sessionId"] = json!(tab);
        }
        self.pipe.send(&message)?;
        Ok(self.commands)
    }

    fn hear(&mut self, message: &Value) -> Result<()> {
        let about = &message["params"];
        match message["method"].as_str().unwrap_or_default() {
            "Page.domContentEventFired" => self.is_loaded = true,
            "Runtime.exceptionThrown" => self.problems.push(about["exceptionDetails"].to_string()),
            "Runtime.consoleAPICalled" if about["type"] == "error" => self.problems.push(about["args"].to_string()),
            "Log.entryAdded" if about["entry"]["level"] == "error" => self.problems.push(about["entry"].to_string()),
            "Fetch.requestPaused" => {
                self.send("Fetch.continueRequest", json!({ "requestId": about["requestId"] }))?;
            }
            "Fetch.authRequired" => {
                self.dialogs += 1;
                let response = match self.logins.pop_front() {
                    Some((user, password)) => {
                        json!({ "response": "ProvideCredentials", "username": user, "password": password })
                    }
                    None => json!({ "response": "CancelAuth" }),
                };
                let answer = json!({ "requestId": about["requestId"], "authChallengeResponse": response });
                self.send("Fetch.continueWithAuth", answer)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn said(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
}

/// As `doorward ca` says, into the database of certificates that Chromium reads on Linux.
fn install(node: &Node, home: &Path, roots: &[&Path]) -> Result<()> {
    let database = format!("sql:{}/.pki/nssdb", home.display());
    std::fs::create_dir_all(home.join(".pki/nssdb"))?;
    node.run(&format!("certutil -d {database} -N --empty-password"))?.ok()?;
    for (number, root) in roots.iter().enumerate() {
        let install = format!("certutil -d {database} -A -t C,, -n root{number} -i {}", root.display());
        node.run(&install)?.ok()?;
    }
    Ok(())
}

impl Drop for Browser {
    fn drop(&mut self) {
        // nsenter; the browser ends with it.
        let _already_gone = self.program.kill();
        let _status = self.program.wait();
    }
}
