//! A policy as fields of a form. Each field is a text until the policy is made of it, so that what was typed stays.

use crate::answer::Problem;
use crate::pages::fields::{Fields, words};
use doorward_core::access::{
    ApprovalDocument, HowDocument, LimitsDocument, Need, PolicyDocument, ScheduleDocument, WhoDocument,
};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::pages) struct Form {
    pub(in crate::pages) who: WhoDocument,
    pub(in crate::pages) people: String,
    pub(in crate::pages) groups: String,
    pub(in crate::pages) is_on_request: bool,
    pub(in crate::pages) max_duration: String,
    pub(in crate::pages) max_idle: String,
    pub(in crate::pages) needs_totp: bool,
    pub(in crate::pages) needs_passkey: bool,
    /// Of which group somebody must agree; empty: nobody.
    pub(in crate::pages) approval: String,
    pub(in crate::pages) within: String,
    pub(in crate::pages) is_exclusive: bool,
    pub(in crate::pages) take_over: String,
    pub(in crate::pages) claim: String,
    pub(in crate::pages) limits: Limits,
    /// Whether it is for certain networks alone.
    pub(in crate::pages) is_from: bool,
    pub(in crate::pages) from: String,
    /// Whether it is open at certain hours alone.
    pub(in crate::pages) is_when: bool,
    pub(in crate::pages) zone: String,
    pub(in crate::pages) open: String,
    /// Whose passwords there are, each with its hash, or with what keeps it.
    pub(in crate::pages) users: Vec<(String, String)>,
    /// All of it, for what has no field.
    rest: PolicyDocument,
}

/// How much of it, each as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::pages) struct Limits {
    pub(in crate::pages) connections: String,
    pub(in crate::pages) connections_each: String,
    pub(in crate::pages) rate: String,
    pub(in crate::pages) rate_each: String,
    pub(in crate::pages) per_day: String,
    pub(in crate::pages) per_month: String,
    pub(in crate::pages) zone: String,
    pub(in crate::pages) max_fps: String,
    pub(in crate::pages) max_kbit: String,
    pub(in crate::pages) is_read_only: bool,
}

impl Limits {
    fn of(document: &LimitsDocument) -> Self {
        let LimitsDocument {
            connections,
            connections_each,
            rate,
            rate_each,
            per_day,
            per_month,
            zone,
            max_fps,
            max_kbit,
            read_only,
        } = document.clone();
        let number = |number: Option<u32>| number.map(|number| number.to_string()).unwrap_or_default();
        Self {
            connections: number(connections),
            connections_each: number(connections_each),
            rate: rate.unwrap_or_default(),
            rate_each: rate_each.unwrap_or_default(),
            per_day: per_day.unwrap_or_default(),
            per_month: per_month.unwrap_or_default(),
            zone: zone.unwrap_or_default(),
            max_fps: number(max_fps),
            max_kbit: number(max_kbit),
            is_read_only: read_only,
        }
    }

    fn sent(fields: &Fields) -> Self {
        let text = |name: &str| fields.text(name).to_owned();
        Self {
            connections: text("connections"),
            connections_each: text("connections-each"),
            rate: text("rate"),
            rate_each: text("rate-each"),
            per_day: text("per-day"),
            per_month: text("per-month"),
            zone: text("limits-zone"),
            max_fps: text("max-fps"),
            max_kbit: text("max-kbit"),
            is_read_only: fields.has("read-only"),
        }
    }

    /// `None`: there are none. A number that is none becomes 0, which is refused.
    fn document(&self) -> Option<LimitsDocument> {
        let number = |text: &str| said(text).map(|text| text.parse().unwrap_or(0));
        let limits = LimitsDocument {
            connections: number(&self.connections),
            connections_each: number(&self.connections_each),
            rate: said(&self.rate),
            rate_each: said(&self.rate_each),
            per_day: said(&self.per_day),
            per_month: said(&self.per_month),
            zone: said(&self.zone),
            max_fps: number(&self.max_fps),
            max_kbit: number(&self.max_kbit),
            read_only: self.is_read_only,
        };
        Some(limits).filter(|limits| *limits != LimitsDocument::default())
    }
}

impl Form {
    pub(in crate::pages) fn of(document: &PolicyDocument) -> Self {
        let rest = document.clone();
        let PolicyDocument { who, passwords, people, groups, how, max_duration, max_idle, from, when, .. } =
            document.clone();
        let approval = document.approval.clone();
        let (zone, open) = when.as_ref().map(|when| (when.zone.clone(), when.open.join("\n"))).unwrap_or_default();
        Self {
            who,
            people: people.join(", "),
            groups: groups.join(", "),
            is_on_request: how == Some(HowDocument::OnRequest),
            max_duration: max_duration.unwrap_or_default(),
            max_idle: max_idle.unwrap_or_default(),
            needs_totp: document.needs.contains(&Need::Totp),
            needs_passkey: document.needs.contains(&Need::Passkey),
            within: approval.as_ref().and_then(|approval| approval.within.clone()).unwrap_or_default(),
            approval: approval.map(|approval| approval.by).unwrap_or_default(),
            is_exclusive: document.exclusive,
            take_over: document.take_over.join(", "),
            claim: document.claim.clone().unwrap_or_default(),
            limits: document.limits.as_ref().map(Limits::of).unwrap_or_default(),
            is_from: from.is_some(),
            from: from.unwrap_or_default().join("\n"),
            is_when: when.is_some(),
            zone,
            open,
            users: passwords.into_iter().collect(),
            rest,
        }
    }

    pub(in crate::pages) fn sent(fields: &Fields) -> Result<Self, Problem> {
        let who = WHO.iter().find(|(word, _)| *word == fields.text("who"));
        let text = |name: &str| fields.text(name).to_owned();
        Ok(Self {
            who: who.map(|(_, who)| *who).ok_or_else(|| Problem::invalid("say who may use it"))?,
            people: text("people"),
            groups: text("groups"),
            is_on_request: fields.text("how") == "on-request",
            max_duration: text("max-duration"),
            max_idle: text("max-idle"),
            needs_totp: fields.has("needs-totp"),
            needs_passkey: fields.has("needs-passkey"),
            approval: text("approval"),
            within: text("within"),
            is_exclusive: fields.has("exclusive"),
            take_over: text("take-over"),
            claim: text("claim"),
            limits: Limits::sent(fields),
            is_from: fields.text("where") == "networks",
            from: text("from"),
            is_when: fields.text("hours") == "certain",
            zone: text("zone"),
            open: text("open"),
            users: fields.all("user").filter_map(user).collect(),
            rest: serde_json::from_str(fields.text("rest")).map_err(|_| Problem::invalid("the form is not whole"))?,
        })
    }

    /// What belongs to another answer of *who* or *how* is left out, as it is not shown there.
    pub(in crate::pages) fn document(&self) -> PolicyDocument {
        let is_people = self.who == WhoDocument::People;
        let in_sessions = is_people && self.is_on_request;
        let needs = [(self.needs_totp, Need::Totp), (self.needs_passkey, Need::Passkey)];
        let one_at_a_time = in_sessions && self.is_exclusive;
        let approval = said(&self.approval).map(|by| ApprovalDocument { by, within: said(&self.within) });
        let users = self.users.iter().filter(|_| self.who == WhoDocument::Password).cloned();
        let mut document = self.rest.clone();
        document.who = self.who;
        document.passwords = users.collect();
        document.people = if is_people { words(&self.people) } else { Vec::new() };
        document.groups = if is_people { words(&self.groups) } else { Vec::new() };
        document.how = in_sessions.then_some(HowDocument::OnRequest);
        document.max_duration = said(&self.max_duration).filter(|_| in_sessions);
        document.max_idle = said(&self.max_idle).filter(|_| in_sessions);
        document.needs = needs.into_iter().filter(|(is, _)| *is && is_people).map(|(_, need)| need).collect();
        document.approval = approval.filter(|_| in_sessions);
        document.exclusive = one_at_a_time;
        document.take_over = if one_at_a_time { words(&self.take_over) } else { Vec::new() };
        document.claim = said(&self.claim).filter(|_| one_at_a_time);
        document.limits = self.limits.document();
        document.from = self.is_from.then(|| words(&self.from));
        document.when = self.is_when.then(|| ScheduleDocument { zone: self.zone.clone(), open: lines(&self.open) });
        document
    }

    /// As a hidden field holds it.
    pub(in crate::pages) fn rest(&self) -> String {
        serde_json::to_string(&self.rest).expect("a policy document can be written as JSON")
    }

    pub(in crate::pages) fn who(&self) -> &'static str {
        WHO.iter().find(|(_, who)| *who == self.who).map_or("nobody", |(word, _)| word)
    }
}

const WHO: [(&str, WhoDocument); 5] = [
    ("nobody", WhoDocument::Nobody),
    ("public", WhoDocument::Public),
    ("password", WhoDocument::Password),
    ("people", WhoDocument::People),
    ("senders", WhoDocument::Senders),
];

/// As `anna:kept`: no user name has a colon.
fn user(text: &str) -> Option<(String, String)> {
    text.split_once(':').map(|(user, phc)| (user.to_owned(), phc.to_owned()))
}

fn said(text: &str) -> Option<String> {
    Some(text.to_owned()).filter(|text| !text.is_empty())
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_comes_out_of_the_form_as_it_went_in() {
        let policies = [
            r#"{"who":"nobody"}"#,
            r#"{"who":"public","from":[]}"#,
            r#"{"who":"password","passwords":{"anna":"kept","zo e":"kept"}}"#,
            r#"{"who":"people","people":["anna","ben"],"groups":["class"],"how":"on-request","max-duration":"2h",
                "max-idle":"15m","from":["192.0.2.0/24","2001:db8::/32"],
                "when":{"zone":"Europe/Berlin","open":["mon-fri 08:00-16:30","sat 10:00-12:00"]}}"#,
            r#"{"who":"senders"}"#,
            r#"{"who":"people","groups":["class"],"how":"on-request","needs":["totp","passkey"],
                "approval":{"by":"teachers","within":"30m"},"exclusive":true,"take-over":["teachers"],"claim":"3m"}"#,
            r#"{"who":"public","limits":{"connections":20,"connections-each":4,"rate":"2 MB","rate-each":"500 kB",
                "per-day":"1 GB","per-month":"20 GB","zone":"Europe/Berlin","max-fps":5,"max-kbit":2000,"read-only":true}}"#,
        ];
        for policy in policies {
            let policy: PolicyDocument = serde_json::from_str(policy).unwrap();
            assert_eq!(Form::of(&policy).document(), policy);
        }
    }

    #[test]
    fn what_is_not_asked_for_is_left_out_and_what_was_typed_stays() {
        let sent = "rest={}&who=public&people=anna&how=on-request&max-duration=1h&where=anywhere&from=nonsense&hours=any&zone=UTC&user=eve:kept";
        let form = Form::sent(&serde_urlencoded::from_str(sent).unwrap()).unwrap();
        assert_eq!(form.document(), PolicyDocument::public());
        assert_eq!((form.people.as_str(), form.from.as_str(), form.who()), ("anna", "nonsense", "public"));
        assert!(Form::sent(&serde_urlencoded::from_str("rest={}&who=everybody").unwrap()).is_err());
    }
}
