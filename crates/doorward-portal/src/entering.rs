//! Signing in, once somebody has proved who they are, and signing out.

use crate::answer::Problem;
use crate::caller::{SignedIn, Source};
use crate::pages::frame::{Frame, onward};
use crate::{PortalState, cookies};
use axum::response::Response;
use doorward_control::{LoginRequest, Proven};
use doorward_core::access::Facts;
use doorward_core::login::LoginKind;
use doorward_core::notice::Notice;
use doorward_core::web::LocalPath;
use http::header::{HeaderMap, SET_COOKIE, USER_AGENT};

/// A login of its own for this browser, and on to where it was going. `before`: by what the browser was signed in until now;
/// that ends, so that nobody goes on by a cookie that somebody else may know.
pub(crate) async fn enter(
    state: &PortalState,
    frame: Frame,
    headers: &HeaderMap,
    source: Source,
    before: Option<SignedIn>,
    proven: Proven,
    then: LocalPath,
) -> Result<Response, Problem> {
    let now = (state.clock)();
    let Proven { account, factors, login_for } = proven;
    let (kind, title) = (LoginKind::Browser, browser(headers));
    let request = LoginRequest { account, kind, factors, title, source: source.0, length: login_for };
    let notice = new_login(state, &request, before.as_ref());
    let login = state.control.begin_login_as(request, now).await?;
    notice.and_then(|notice| state.control.alert(notice, now));
    if let Some(before) = before {
        leave(state, &before).await?;
    }
    let seconds = login.until.duration_since(now).as_secs();
    let mut response = onward(frame, then);
    let headers = response.headers_mut();
    headers.append(SET_COOKIE, cookies::set(cookies::LOGIN, &login.token, Some(seconds)));
    headers.append(SET_COOKIE, cookies::take_back(cookies::STRANGER));
    Ok(response)
}

/// Told at every sign-in, except at a browser where the same person was signed in until now: which browser was here before is
/// known by nothing else, since signing out takes its cookie away.
fn new_login(state: &PortalState, request: &LoginRequest, before: Option<&SignedIn>) -> Option<Notice> {
    if before.is_some_and(|before| before.person.id == request.account) {
        return None;
    }
    let snapshot = state.control.snapshot();
    let person = snapshot.person(request.account)?.name.to_string();
    Some(Notice::NewLogin { person, title: request.title.clone(), source: request.source })
}

/// One that was ended meanwhile is fine.
pub(crate) async fn leave(state: &PortalState, signed_in: &SignedIn) -> Result<(), Problem> {
    let ended = state.control.end_login(Some(signed_in.person.id), signed_in.login.id, (state.clock)()).await;
    match ended {
        Ok(()) | Err(doorward_control::EditError::Unknown(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// As `Firefox, Linux`: enough to know one's own browsers apart.
pub(crate) fn browser(headers: &HeaderMap) -> String {
    let agent = headers.get(USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    // Later ones name those before them as well.
    let browsers = [
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("FxiOS/", "Firefox"),
        ("CriOS/", "Chrome"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    ];
    let systems = [
        ("iPhone", "iPhone"),
        ("iPad", "iPad"),
        ("Android", "Android"),
        ("Windows", "Windows"),
        ("Mac OS X", "macOS"),
        ("CrOS", "ChromeOS"),
        ("Linux", "Linux"),
    ];
    let of =
        |table: &[(&str, &'static str)]| table.iter().find(|(mark, _)| agent.contains(mark)).map(|(_, name)| *name);
    match (of(&browsers), of(&systems)) {
        (Some(browser), Some(system)) => format!("{browser}, {system}"),
        (Some(name), None) | (None, Some(name)) => name.to_owned(),
        (None, None) => {
            agent.split(['/', ' ']).next().filter(|name| !name.is_empty()).unwrap_or("a browser").to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn a_browser_is_called_what_people_call_it() {
        let table = [
            ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox, Linux"),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
                 Version/17.5 Mobile/15E148 Safari/604.1",
                "Safari, iPhone",
            ),
            ("Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/126.0 Safari/537.36 Edg/126.0", "Edge, Windows"),
            ("curl/8.9.1", "curl"),
            ("", "a browser"),
        ];
        for (agent, name) in table {
            assert_eq!(browser(&HeaderMap::from_iter([(USER_AGENT, HeaderValue::from_static(agent))])), name);
        }
    }
}
