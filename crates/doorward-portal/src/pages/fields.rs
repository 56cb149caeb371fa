//! Forms with many fields, as they were filled in.

use crate::answer::Problem;
use doorward_core::names::Label;
use doorward_core::person::Role;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;

/// Names and values, in the order of the form; boxes that were ticked alone.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Fields(Vec<(String, String)>);

impl Fields {
    /// Without what stands around it; empty if there is none.
    pub(super) fn text(&self, name: &str) -> &str {
        self.all(name).next().unwrap_or_default()
    }

    pub(super) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.trim())
    }

    pub(super) fn has(&self, name: &str) -> bool {
        !self.text(name).is_empty()
    }

    /// As they were typed, between spaces or commas.
    pub(super) fn words(&self, name: &str) -> Vec<String> {
        words(self.text(name))
    }

    pub(super) fn labels(&self, name: &str) -> Result<Vec<Label>, Problem> {
        self.words(name).iter().map(|word| label(word)).collect()
    }

    pub(super) fn role(&self) -> Result<Role, Problem> {
        Role::read(self.text("role")).ok_or_else(|| Problem::invalid("say which role: owner, member or guest"))
    }

    /// When that day begins, in UTC, as the commands have it. Nothing typed: never.
    pub(super) fn day(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        let text = self.text(name);
        if text.is_empty() {
            return Ok(None);
        }
        let read = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
        let day = read().ok_or_else(|| Problem::invalid(format!("\"{text}\" is no day as 2027-02-01")))?;
        Ok(Some(day.timestamp()))
    }

    /// What the page was about when it was made.
    pub(super) fn version(&self) -> Result<i64, Problem> {
        self.text("version").parse().map_err(|_| Problem::invalid("the form lost the version that it is about"))
    }

    pub(super) fn number<N: std::str::FromStr>(&self, name: &str) -> Result<N, Problem> {
        let text = self.text(name);
        text.parse().map_err(|_| Problem::invalid(format!("\"{text}\" is no such number")))
    }
}

pub(super) fn words(text: &str) -> Vec<String> {
    let each = text.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty());
    each.map(str::to_owned).collect()
}

pub(super) fn label(name: &str) -> Result<Label, Problem> {
    Label::parse(name).map_err(|error| Problem::invalid(error.to_string()))
}

/// What a field for a day shows.
pub(super) fn day_of(at: Option<Timestamp>) -> String {
    at.map(|at| at.to_zoned(TimeZone::UTC).date().to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_people_fill_them_in() {
        let fields: Fields = serde_urlencoded::from_str(
            "groups=+class%2C+teachers%0Arobots&keep=a&keep=b&until=2027-02-01&never=&version=7&odd=soon",
        )
        .unwrap();
        assert_eq!(fields.words("groups"), ["class", "teachers", "robots"]);
        assert_eq!(fields.all("keep").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(fields.day("until").unwrap(), Some("2027-02-01T00:00:00Z".parse().unwrap()));
        assert_eq!(day_of(fields.day("until").unwrap()), "2027-02-01");
        assert_eq!((fields.day("never").unwrap(), fields.has("never"), fields.version().unwrap()), (None, false, 7));
        assert!(fields.day("odd").is_err() && fields.number::<u32>("odd").is_err() && fields.role().is_err());
    }
}
