//! What changes while somebody looks on, as server-sent events (HTML Standard 9.2): of what they get at, names alone; what it
//! is now is asked for by the other routes. Whoever missed something is told to reload. It ends with the login.

mod world;

use crate::PortalState;
use crate::acting::Acting;
use crate::answer::Problem;
use crate::asker::Asker;
use crate::caller::Caller;
use crate::describe::{Given, Operation, Taken};
use axum::extract::FromRequestParts;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use doorward_control::{Change, Changes, News, Snapshot};
use doorward_core::access::Facts;
use doorward_core::person::PersonStanding;
use doorward_core::{AccountId, LoginId};
use futures_util::stream;
use http::StatusCode;
use http::request::Parts;
use schemars::SchemaGenerator;
use serde::Serialize;
use serde_json::json;
use std::collections::{BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};
use world::World;

/// Of one account at once.
const MOST: usize = 8;
/// What comes and goes is told together.
const GATHERING: Duration = Duration::from_secs(1);
const KEPT_ALIVE: Duration = Duration::from_secs(20);

/// How many look on, by account.
#[derive(Clone, Default)]
pub(crate) struct Watchers(Arc<Mutex<HashMap<AccountId, usize>>>);

struct Seat {
    watchers: Watchers,
    account: AccountId,
}

impl Watchers {
    fn sit_down(&self, account: AccountId) -> Option<Seat> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(account).or_default();
        if *count >= MOST {
            return None;
        }
        *count += 1;
        Some(Seat { watchers: self.clone(), account })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self.watchers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.account) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.account);
            }
        }
    }
}

/// Who looks on, and where they stopped the last time.
pub(crate) struct Lookout {
    caller: Caller,
    watchers: Watchers,
    last: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Lookout {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Response> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let watchers = parts.extensions.get::<Watchers>().cloned().unwrap_or_default();
        let last = parts.headers.get("last-event-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
        Ok(Self { caller, watchers, last })
    }
}

impl Taken for Lookout {
    fn describe(operation: &mut Operation, _: &mut SchemaGenerator) {
        let schema = json!({ "type": "string" });
        operation.parameter("header", "Last-Event-ID", false, schema, "The id of the last event that was seen.");
        operation.refuses(StatusCode::TOO_MANY_REQUESTS, "this person looks on eight times already");
    }
}

/// Events without end.
pub(crate) struct Watching(Response);

impl IntoResponse for Watching {
    fn into_response(self) -> Response {
        self.0
    }
}

impl Given for Watching {
    fn describe(operation: &mut Operation, _: &mut SchemaGenerator) {
        let schema = json!({ "type": "string", "description": "`hello`, `change`, `presence`, `figures` and `reload`, with JSON as data" });
        operation.answers(StatusCode::OK, "events, until the login ends", Some(("text/event-stream", schema)));
    }
}

pub(crate) async fn watch(Acting(state): Acting, asker: Asker, lookout: Lookout) -> Result<Watching, Problem> {
    let remedy = "close one of the others";
    let full = || Problem::new(StatusCode::TOO_MANY_REQUESTS, "you look on too often at once", remedy);
    let seat = lookout.watchers.sit_down(asker.account).ok_or_else(full)?;
    // First subscribed, then looked: nothing falls between.
    let (changes, presence) = (state.control.changes(), state.control.presence().watch());
    let snapshot = state.control.snapshot();
    let mark = snapshot.generation();
    let first =
        if lookout.last.is_some_and(|last| last != mark.to_string()) { Telling::Reload } else { Telling::Hello };
    let world = World::seen(&state, &asker);
    let watcher = Watcher {
        state,
        asker,
        login: lookout.caller.login(),
        snapshot,
        mark,
        changes,
        presence,
        world,
        first: Some(first),
        _seat: seat,
    };
    let events = stream::unfold(watcher, async |mut watcher| {
        let event = watcher.next().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    });
    let kept_alive = KeepAlive::new().interval(KEPT_ALIVE);
    Ok(Watching(Sse::new(Box::pin(events)).keep_alive(kept_alive).into_response()))
}

enum Telling {
    Hello,
    /// Something was missed: ask for everything anew.
    Reload,
}

struct Watcher {
    state: PortalState,
    asker: Asker,
    login: Option<LoginId>,
    /// As it was when they had heard of everything.
    snapshot: Arc<Snapshot>,
    /// Of what they heard last.
    mark: u64,
    changes: Changes,
    presence: watch::Receiver<u64>,
    world: World,
    first: Option<Telling>,
    _seat: Seat,
}

#[derive(Default, PartialEq, Eq, Serialize)]
struct Changed {
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    devices: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    services: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    people: BTreeSet<String>,
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    sessions: BTreeSet<i64>,
}

impl Watcher {
    /// `None`: they look on no more.
    async fn next(&mut self) -> Option<Event> {
        if let Some(telling) = self.first.take() {
            return Some(self.tell(&telling));
        }
        loop {
            let end = self.end()?;
            tokio::select! {
                () = end => return None,
                news = self.changes.next() => {
                    let _is_in = self.end()?;
                    let now = self.state.control.snapshot();
                    match news? {
                        News::Lagged => {
                            (self.mark, self.snapshot) = (now.generation(), now);
                            return Some(self.tell(&Telling::Reload));
                        }
                        News::Change(change) => {
                            let changed = self.changed(&now, &change);
                            self.mark = change.generation;
                            // Of the changes in between they are still to hear; what those took away is known to the old one.
                            if change.generation >= now.generation() {
                                self.snapshot = now;
                            }
                            if changed != Changed::default() {
                                return Some(self.event("change", &changed));
                            }
                        }
                    }
                }
                gone = self.presence.changed() => {
                    gone.ok()?;
                    sleep(GATHERING).await;
                    self.presence.mark_unchanged();
                    if let Some(presence) = self.world.came_and_went(&self.state, &self.asker, &self.snapshot) {
                        return Some(self.event("presence", &presence));
                    }
                    if let Some(devices) = self.world.fared_otherwise(&self.state, &self.snapshot) {
                        return Some(self.event("figures", &json!({ "devices": devices })));
                    }
                }
            }
        }
    }

    /// When they have to go at the latest. `None`: now.
    fn end(&self) -> Option<impl Future<Output = ()> + use<>> {
        let now = (self.state.clock)();
        let snapshot = self.state.control.snapshot();
        let is_good = |account| snapshot.person(account).is_some_and(|p| p.standing(now) == PersonStanding::Good);
        let until = match self.login {
            None => None,
            Some(id) => {
                let login = snapshot.login(id).filter(|login| login.counts(now) && is_good(login.account))?;
                let ends = snapshot.person(login.account).and_then(|person| person.ends_at);
                Some(ends.map_or(login.until, |ends| ends.min(login.until)))
            }
        };
        let left = until.map(|until| Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO));
        let deadline = left.and_then(|left| Instant::now().checked_add(left));
        Some(async move {
            match deadline {
                Some(deadline) => sleep_until(deadline).await,
                None => std::future::pending().await,
            }
        })
    }

    fn tell(&self, telling: &Telling) -> Event {
        let word = match telling {
            Telling::Hello => "hello",
            Telling::Reload => "reload",
        };
        self.event(word, &json!({}))
    }

    fn event(&self, word: &str, data: &impl Serialize) -> Event {
        let event = Event::default().event(word).id(self.mark.to_string());
        event.json_data(data).unwrap_or_else(|_| Event::default().event("reload").data("{}"))
    }

    /// What they got at before, or get at now.
    fn changed(&self, after: &Snapshot, change: &Change) -> Changed {
        let now = (self.state.clock)();
        let mut changed = Changed::default();
        for snapshot in [&*self.snapshot, after] {
            let devices = change.devices.iter().filter_map(|id| snapshot.device(*id));
            let devices = devices.filter(|device| self.asker.gets_at_device(device));
            changed.devices.extend(devices.map(|device| device.name.to_string()));
            let services = change.services.iter().filter_map(|id| snapshot.service_record(*id));
            let services = services.filter(|record| self.asker.gets_at_service(snapshot, record, now));
            changed.services.extend(services.map(|record| record.service.path()));
            let people = change.people.iter().filter_map(|id| snapshot.person(*id));
            let people = people.filter(|person| self.asker.gets_at_account(person.id));
            changed.people.extend(people.map(|person| person.name.to_string()));
            let sessions = change.sessions.iter().filter_map(|id| snapshot.session(*id));
            let sessions = sessions.filter(|session| self.asker.gets_at_session(snapshot, session));
            changed.sessions.extend(sessions.map(|session| session.id.0));
        }
        changed
    }
}
