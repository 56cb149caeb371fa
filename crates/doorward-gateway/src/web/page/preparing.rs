//! While a service is made ready: what is being done and for how long, for those who are admitted. It reloads by itself.

use super::{Said, wants_json};
use crate::web::Body;
use crate::web::language::Language;
use doorward_control::Preparation;
use doorward_core::prepare::Phase;
use doorward_core::service::Service;
use http::header::{REFRESH, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use jiff::Timestamp;

/// Programs need not ask every moment; people look at a page.
const RETRY: i64 = 5;
const RELOAD: i64 = 3;
/// Nobody is told to stay away for longer.
const LONGEST: i64 = 300;

pub(crate) fn preparing(headers: &HeaderMap, method: &Method, seen: &Preparation, service: &Service) -> Response<Body> {
    let is_json = wants_json(headers);
    let language = if is_json { Language::English } else { Language::wanted(headers) };
    let now = Timestamp::now();
    let seconds = |from: Timestamp, to: Timestamp| to.duration_since(from).as_secs().max(0);
    let pause = seen.retry_at.filter(|_| seen.phase == Phase::Failed).map(|at| seconds(now, at).clamp(1, LONGEST));
    let (what, remedy) = match pause {
        Some(pause) => {
            ("Could not be made ready", fill(language, "It is tried again in {seconds} s.", &[("seconds", &pause)]))
        }
        None => {
            let took = seconds(seen.since, now);
            let text = "For {seconds} s so far. This page reloads by itself.";
            ("Getting ready", fill(language, text, &[("seconds", &took)]))
        }
    };
    let detail = format!("{}: {}", service.title, doing(language, seen));
    let said = Said { status: StatusCode::SERVICE_UNAVAILABLE, what, detail: &detail, remedy: &remedy };
    let mut response = said.on(headers, service, None);
    let held = response.headers_mut();
    held.insert(RETRY_AFTER, HeaderValue::from(pause.unwrap_or(RETRY)));
    // What somebody sent is not to be asked for anew without it.
    if !is_json && matches!(*method, Method::GET | Method::HEAD) {
        held.insert(REFRESH, HeaderValue::from(pause.unwrap_or(RELOAD)));
    }
    response
}

fn doing(language: Language, seen: &Preparation) -> String {
    let Preparation { step, steps, what, .. } = seen;
    let blanks: [(&str, &dyn ToString); 3] = [("step", step), ("steps", steps), ("what", &language.say(what))];
    let text = match seen.phase {
        Phase::Preparing => "Step {step} of {steps}: {what}.",
        Phase::Failed => "Step {step} of {steps} failed: {what}.",
        Phase::Releasing => "It is being put to rest. After that it is started again.",
        Phase::Resting | Phase::Ready => "It is about to start.",
    };
    fill(language, text, &blanks)
}

/// An English sentence of `pages.toml`, in this language and with its blanks filled.
fn fill(language: Language, english: &str, blanks: &[(&str, &dyn ToString)]) -> String {
    // The last one is other people's words, and is not looked at for further blanks.
    blanks.iter().fold(language.say(english).to_owned(), |text, (name, value)| {
        text.replacen(&format!("{{{name}}}"), &value.to_string(), 1)
    })
}
