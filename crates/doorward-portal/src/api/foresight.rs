//! What another policy would answer. Asking changes nothing.

use crate::acting::Acting;
use crate::answer::{At, Body, Problem};
use crate::asker::Asker;
use crate::foresight::{Row, Wish, foresee};
use axum::Json;
use doorward_control::Toll;
use doorward_core::access::{Outlook, PolicyDocument};
use doorward_core::names::Label;
use doorward_core::schema::Instant;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PreviewBody {
    /// As it would be set. A password that stays is written `kept`.
    access: PolicyDocument,
    /// About whom; those whom the policy names if both lists are empty.
    #[serde(default)]
    people: Vec<String>,
    #[serde(default)]
    groups: Vec<String>,
    /// From which addresses; from wherever they come if it is empty.
    #[serde(default)]
    from: Vec<IpAddr>,
    /// When; now if it is empty.
    #[serde(default)]
    #[schemars(with = "Vec<Instant>")]
    at: Vec<Timestamp>,
}

#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct ForesightBody {
    answers: Vec<AnswerBody>,
    /// Visits that are open, and how many of them it would cut.
    open_visits: u32,
    cut_visits: u32,
    open_sessions: u32,
    /// Whose person would not be let in by them any more.
    cut_sessions: u32,
}

#[derive(Serialize, JsonSchema)]
struct AnswerBody {
    /// `stranger`, `somebody` (with an account, in no group), `group` (somebody of it), `person`, or `nobody` (has this name).
    whom: &'static str,
    name: Option<Label>,
    /// `null`: from wherever they come.
    from: Option<IpAddr>,
    #[schemars(with = "Instant")]
    at: Timestamp,
    /// By the policy that there is.
    now: OutlookBody,
    /// By the other.
    then: OutlookBody,
}

#[derive(Serialize, JsonSchema)]
struct OutlookBody {
    /// `yes`, `password` (with one), `session` (in one) or `no`.
    answer: &'static str,
    /// `null`: without an end.
    #[schemars(with = "Option<Instant>")]
    until: Option<Timestamp>,
    /// Why not.
    why: Option<String>,
}

pub(crate) async fn preview(
    Acting(state): Acting,
    asker: Asker,
    At((device, service)): At<(String, String)>,
    Body(asked): Body<PreviewBody>,
) -> Result<Json<ForesightBody>, Problem> {
    let record = asker.service(&state, (&device, &service))?;
    let PreviewBody { access, people, groups, from, at } = asked;
    let supposed = state.control.suppose(&record, &access).map_err(|error| Problem::invalid(error.to_string()))?;
    let rows = foresee(&state, &record, &supposed, &access, &Wish { people, groups, from, at })?;
    let Toll { visits, cut_visits, sessions, cut_sessions } = state.control.toll(&supposed, (state.clock)());
    Ok(Json(ForesightBody {
        answers: rows.into_iter().map(answer).collect(),
        open_visits: visits,
        cut_visits,
        open_sessions: sessions,
        cut_sessions,
    }))
}

fn answer(row: Row) -> AnswerBody {
    let Row { whom, from, at, now, then } = row;
    AnswerBody { whom: whom.word(), name: whom.name().cloned(), from, at, now: outlook(now), then: outlook(then) }
}

fn outlook(outlook: Outlook) -> OutlookBody {
    let (answer, until, why) = match outlook {
        Outlook::Yes(until) => ("yes", until, None),
        Outlook::WithPassword(until) => ("password", until, None),
        Outlook::InSession(until) => ("session", until, None),
        Outlook::No(why) => ("no", None, Some(why.to_string())),
    };
    OutlookBody { answer, until, why }
}
