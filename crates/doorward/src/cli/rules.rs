//! What `doorward access … set` says beside who, from where and when.

use clap::{Args, ValueEnum};
use doorward_core::access::{ApprovalDocument, LimitsDocument, Need};
use doorward_core::size::parse_size;

use super::access::span;
use crate::admin::access::Rules;

#[derive(Debug, Args)]
pub(super) struct RuleArgs {
    /// Whoever owns it may make share links, each for so long at most, as 7d (`doorward share`).
    #[arg(long, value_name = "SPAN", value_parser = span, conflicts_with_all = ["public", "senders"])]
    share_links: Option<String>,
    /// Nobody is asked at this path, where the application checks its own keys; may be repeated.
    #[arg(long, value_name = "PATH", conflicts_with_all = ["public", "nobody", "senders"])]
    open_path: Vec<String>,
    /// People may come by a client certificate, too (`doorward certificates`).
    #[arg(long, requires = "people")]
    certificates: bool,
    /// Each person's login must have been begun with this, too; may be repeated.
    #[arg(long, value_enum, requires = "people")]
    needs: Vec<NeedArg>,
    /// Somebody of this group must approve each session.
    #[arg(long, value_name = "GROUP", requires = "on_request")]
    approval: Option<String>,
    /// One person has it at a time; the others wait in line.
    #[arg(long, requires = "on_request")]
    exclusive: bool,
    /// An open session's own port may wait for whoever comes there first, where its person asks for that.
    #[arg(long, requires = "on_request")]
    first_comer: bool,
    /// Whose people take it from whoever has it; may be repeated.
    #[arg(long, value_name = "GROUP", requires = "exclusive")]
    take_over: Vec<String>,
    /// Visits at once.
    #[arg(long, value_name = "NUMBER", conflicts_with = "nobody")]
    connections: Option<u32>,
    /// The same of one person, or of one address.
    #[arg(long, value_name = "NUMBER", conflicts_with = "nobody")]
    connections_each: Option<u32>,
    /// Bytes a second in each direction, of all visits together, as "2 MB".
    #[arg(long, value_name = "BYTES", value_parser = size, conflicts_with = "nobody")]
    rate: Option<String>,
    /// The same of one visit.
    #[arg(long, value_name = "BYTES", value_parser = size, conflicts_with = "nobody")]
    rate_each: Option<String>,
    /// What may cross the device's link in a day, as "1 GB".
    #[arg(long, value_name = "BYTES", value_parser = size, requires = "budget_zone")]
    per_day: Option<String>,
    /// The same in a month.
    #[arg(long, value_name = "BYTES", value_parser = size, requires = "budget_zone")]
    per_month: Option<String>,
    /// Whose days and months, as Europe/Berlin.
    #[arg(long, value_name = "ZONE", conflicts_with = "nobody")]
    budget_zone: Option<String>,
    /// Pictures a second of a camera, for all who look.
    #[arg(long, value_name = "NUMBER", conflicts_with = "nobody")]
    max_fps: Option<u32>,
    /// The same in kilobits a second.
    #[arg(long, value_name = "NUMBER", conflicts_with = "nobody")]
    max_kbit: Option<u32>,
    /// A web service that may only be looked at: GET, HEAD and OPTIONS.
    #[arg(long, conflicts_with = "nobody")]
    read_only: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum NeedArg {
    Totp,
    Passkey,
}

/// What is passed on as it was written.
fn size(given: &str) -> Result<String, String> {
    parse_size(given).map(|_| given.to_owned())
}

impl RuleArgs {
    pub(super) fn into_rules(self) -> Rules {
        let needs = self.needs.into_iter().map(|need| match need {
            NeedArg::Totp => Need::Totp,
            NeedArg::Passkey => Need::Passkey,
        });
        let limits = LimitsDocument {
            connections: self.connections,
            connections_each: self.connections_each,
            rate: self.rate,
            rate_each: self.rate_each,
            per_day: self.per_day,
            per_month: self.per_month,
            zone: self.budget_zone,
            max_fps: self.max_fps,
            max_kbit: self.max_kbit,
            read_only: self.read_only,
        };
        Rules {
            needs: needs.collect(),
            approval: self.approval.map(|by| ApprovalDocument { by, within: None }),
            is_exclusive: self.exclusive,
            take_over: self.take_over,
            takes_first_comers: self.first_comer,
            limits: (limits != LimitsDocument::default()).then_some(limits),
            share_links: self.share_links,
            open_paths: self.open_path,
            certificates: self.certificates,
        }
    }
}
