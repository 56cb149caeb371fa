//! One line of the audit, as it is shown, exported and hashed.

use crate::access::Proof;
use crate::schema::Instant;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Who did what to what, from where, on what grounds, and what came of it. Nothing here is secret: of a credential it
/// holds whose it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Line {
    /// One more than the line before.
    pub id: i64,
    /// When it happened; of what was counted together, the first.
    #[serde(serialize_with = "write_time")]
    #[schemars(with = "Instant")]
    pub at: Timestamp,
    /// Where it took a while: until when.
    #[serde(serialize_with = "write_optional_time")]
    #[schemars(with = "Option<Instant>")]
    pub until: Option<Timestamp>,
    /// A [`Deed`](super::Deed)'s word.
    pub deed: String,
    /// Who did it, by name; empty where nobody proved who they are.
    pub person: String,
    /// What it was done to: a device, a service as `device/service`, a person.
    pub subject: String,
    pub detail: String,
    /// An address or prefix; empty where the owner acted on the gateway itself.
    pub source: String,
    /// What let them: a session, a login, a key, a password; empty where anybody may.
    pub grounds: String,
    /// How many times. Of visits: those that began since the line before of the same visitor.
    pub count: u64,
    /// Bytes from the visitor, and to them, since the line before of the same visitor.
    pub up: u64,
    pub down: u64,
    /// How visits ended.
    pub ending: String,
}

impl Line {
    /// All of it, in the order in which it is hashed. Times are in UTC to the millisecond, numbers decimal.
    pub fn fields(&self) -> [String; 13] {
        [
            self.id.to_string(),
            moment(self.at),
            self.until.map(moment).unwrap_or_default(),
            self.deed.clone(),
            self.person.clone(),
            self.subject.clone(),
            self.detail.clone(),
            self.source.clone(),
            self.grounds.clone(),
            self.count.to_string(),
            self.up.to_string(),
            self.down.to_string(),
            self.ending.clone(),
        ]
    }
}

/// Always of one length, so that the same moment is always the same text.
fn moment(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string()
}

fn write_time<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&moment(*at))
}

fn write_optional_time<S: serde::Serializer>(at: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(moment).serialize(serializer)
}

/// What a visitor's proofs are called in the audit. Whose they are, never what they are.
pub struct Grounds<'p>(pub &'p [Proof]);

impl fmt::Display for Grounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, proof) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str(", ")?;
            }
            match proof {
                Proof::Password(hash) => write!(f, "password of {}", hash.user)?,
                Proof::Person(_) => f.write_str("own key")?,
                Proof::Session(id) => write!(f, "session {id}")?,
                Proof::Port(id) => write!(f, "port of session {id}")?,
                Proof::Login(id) => write!(f, "login {id}")?,
                Proof::Sender(_) => f.write_str("sender key")?,
                Proof::Share(used) => write!(f, "share {}, use {}", used.share, used.number)?,
                Proof::OpenPath(path) => write!(f, "open path {path}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::PasswordHash;
    use crate::{AccountId, SessionId};

    #[test]
    fn a_line_reads_back_as_it_was_written_and_its_times_have_one_length() {
        let at: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        let line = Line {
            id: 7,
            at,
            until: Some("2026-11-23T12:00:00.250Z".parse().unwrap()),
            deed: "visit-ended".into(),
            person: "ada".into(),
            subject: "zumi01/küche".into(),
            detail: "web".into(),
            source: "192.0.2.7".into(),
            grounds: "session 5".into(),
            count: 3,
            up: 4,
            down: 5,
            ending: "cut".into(),
        };
        let text = serde_json::to_string(&line).unwrap();
        assert!(text.contains(r#""at":"2026-11-23T12:00:00.000Z","until":"2026-11-23T12:00:00.250Z""#), "{text}");
        assert_eq!(serde_json::from_str::<Line>(&text).unwrap(), line);
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        let said: Vec<_> = line.fields().into_iter().collect();
        let names = [
            "id", "at", "until", "deed", "person", "subject", "detail", "source", "grounds", "count", "up", "down",
            "ending",
        ];
        let shown: Vec<_> =
            names.map(|name| json[name].as_str().map_or_else(|| json[name].to_string(), str::to_owned)).into();
        assert_eq!(said, shown, "what is hashed is what is shown");
        assert_eq!(json.as_object().unwrap().len(), names.len(), "and all of it");
    }

    #[test]
    fn grounds_name_whose_a_secret_is_and_nothing_of_it() {
        let hash = PasswordHash { user: "class".into(), phc: "$argon2id$secret".into() };
        let proofs = [Proof::Password(hash), Proof::Person(AccountId(3)), Proof::Session(SessionId(5))];
        assert_eq!(Grounds(&proofs).to_string(), "password of class, own key, session 5");
        assert_eq!(Grounds(&[]).to_string(), "");
    }
}
