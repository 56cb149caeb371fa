//! A list of people as a spreadsheet saves it: all of them are added with a link of their own, or nobody is.

use super::accept::enter;
use super::{MadeWelcome, check_length, make_own};
use crate::store::{ChangeError, StoreError};
use crate::{Control, EditError, NewPerson};
use doorward_core::names::Label;
use doorward_core::person::Role;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashSet};
use thiserror::Error;

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Newcomer {
    /// Of the file, the first being 1.
    pub line: u64,
    pub name: Label,
    pub title: Option<String>,
    pub role: Role,
    pub groups: Vec<Label>,
    pub ends_at: Option<Timestamp>,
}

/// What holds for whom the list says nothing else of; the groups are everybody's.
#[derive(Clone, Debug)]
pub struct Usual {
    pub role: Role,
    pub groups: Vec<Label>,
    pub ends_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineError {
    pub line: u64,
    pub why: String,
}

#[derive(Debug, Error)]
pub enum ImportError {
    #[error("nobody was added: {} of the list cannot be taken", lines(.0.len()))]
    Lines(Vec<LineError>),
    #[error(transparent)]
    Edit(#[from] EditError),
}

fn lines(number: usize) -> String {
    format!("{number} line{}", if number == 1 { "" } else { "s" })
}

impl From<StoreError> for ImportError {
    fn from(error: StoreError) -> Self {
        Self::Edit(error.into())
    }
}

impl ChangeError for ImportError {
    fn of_store(&mut self) -> Option<&mut StoreError> {
        match self {
            Self::Edit(error) => error.of_store(),
            Self::Lines(_) => None,
        }
    }
}

const MOST: usize = 5_000;

impl Control {
    /// Each with a link to set their password, which is good for `length`.
    pub async fn import_people(
        &self,
        newcomers: Vec<Newcomer>,
        length: SignedDuration,
        now: Timestamp,
    ) -> Result<Vec<(Newcomer, MadeWelcome)>, ImportError> {
        check_length(length)?;
        self.write(move |work| {
            Box::pin(async move {
                let mut errors = Vec::new();
                for newcomer in &newcomers {
                    let is_group = |name: &&Label| work.draft.group_by_name(name).is_none();
                    let unknown = newcomer.groups.iter().find(is_group);
                    let why = match (work.draft.person_by_name(&newcomer.name), unknown) {
                        (Some(_), _) => format!("there is a person \"{}\" already", newcomer.name),
                        (None, Some(group)) => format!("there is no group \"{group}\""),
                        (None, None) if newcomer.ends_at.is_some_and(|end| end <= now) => {
                            "the account would have ended already".to_owned()
                        }
                        (None, None) => continue,
                    };
                    errors.push(LineError { line: newcomer.line, why });
                }
                if !errors.is_empty() {
                    return Err(ImportError::Lines(errors));
                }
                let mut made = Vec::new();
                for newcomer in newcomers {
                    let Newcomer { name, title, role, ends_at, groups, .. } = newcomer.clone();
                    let account = enter(work, NewPerson { name, title, role, ends_at }, &groups, 0, now).await?;
                    made.push((newcomer, make_own(work, account, length, now).await?));
                }
                Ok(made)
            })
        })
        .await
    }
}

/// The columns, in any order: `name`, `title`, `role`, `until` (a day or an instant), `groups` (with blanks between). Without a name one is
/// made of the title. Separated by commas, or by semicolons as spreadsheets in some countries do.
pub fn read_list(text: &str, usual: &Usual) -> Result<Vec<Newcomer>, Vec<LineError>> {
    // With two signs at its end a line is counted only when the next one begins.
    let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let head = text.lines().next().unwrap_or_default();
    let separator = if head.contains(';') && !head.contains(',') { b';' } else { b',' };
    let mut reader =
        csv::ReaderBuilder::new().delimiter(separator).trim(csv::Trim::All).flexible(true).from_reader(text.as_bytes());
    let refuse = |line: u64, why: String| LineError { line, why };
    let columns = match reader.headers() {
        Ok(headers) => read_columns(headers).map_err(|why| vec![refuse(1, why)])?,
        Err(error) => return Err(vec![refuse(1, error.to_string())]),
    };
    let (mut newcomers, mut errors, mut names) = (Vec::new(), Vec::new(), HashSet::new());
    for record in reader.records() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                errors.push(refuse(error.position().map_or(0, csv::Position::line), error.to_string()));
                continue;
            }
        };
        let line = line_of(&text, record.position());
        if record.iter().all(str::is_empty) {
            continue;
        }
        match newcomer(&columns, &record, line, usual) {
            Ok(newcomer) if !names.insert(newcomer.name.clone()) => {
                errors.push(refuse(line, format!("\"{}\" is in the list already", newcomer.name)));
            }
            Ok(newcomer) => newcomers.push(newcomer),
            Err(why) => errors.push(refuse(line, why)),
        }
    }
    if newcomers.len() > MOST {
        errors.push(refuse(
            0,
            format!("the list names {} people: {MOST} at once are as many as can be", newcomers.len()),
        ));
    }
    if newcomers.is_empty() && errors.is_empty() {
        errors.push(refuse(1, "the list names nobody".to_owned()));
    }
    if errors.is_empty() { Ok(newcomers) } else { Err(errors) }
}

/// The position is before the empty lines that were skipped.
fn line_of(text: &str, position: Option<&csv::Position>) -> u64 {
    let Some(position) = position else { return 0 };
    let rest = usize::try_from(position.byte()).ok().and_then(|at| text.as_bytes().get(at..)).unwrap_or_default();
    let skipped = rest.iter().take_while(|byte| **byte == b'\n').count();
    position.line() + u64::try_from(skipped).unwrap_or(0)
}

const COLUMNS: [&str; 5] = ["name", "title", "role", "until", "groups"];

fn read_columns(headers: &csv::StringRecord) -> Result<BTreeMap<&'static str, usize>, String> {
    let mut columns = BTreeMap::new();
    for (at, given) in headers.iter().enumerate() {
        let folded = given.to_lowercase();
        let known = COLUMNS.into_iter().find(|column| *column == folded);
        let known = known.ok_or_else(|| {
            format!("the first line names the columns, which are {}; \"{given}\" is none of them", COLUMNS.join(", "))
        })?;
        if columns.insert(known, at).is_some() {
            return Err(format!("the column {known} is there twice"));
        }
    }
    if columns.contains_key("name") || columns.contains_key("title") {
        return Ok(columns);
    }
    Err("the first line names the columns: a name or a title is needed".to_owned())
}

fn newcomer(
    columns: &BTreeMap<&'static str, usize>,
    record: &csv::StringRecord,
    line: u64,
    usual: &Usual,
) -> Result<Newcomer, String> {
    if record.len() > columns.len() {
        return Err(format!("it has {} fields, and there are {} columns", record.len(), columns.len()));
    }
    let field = |column: &str| {
        let at = columns.get(column);
        at.and_then(|at| record.get(*at)).filter(|text| !text.is_empty())
    };
    let title = field("title").map(str::to_owned);
    let name = match (field("name"), &title) {
        (Some(name), _) => Label::parse(name).map_err(|error| error.to_string())?,
        (None, Some(title)) => {
            Label::suggest(title).ok_or_else(|| format!("no name can be made of \"{title}\": give one"))?
        }
        (None, None) => return Err("it has neither name nor title".to_owned()),
    };
    let role = field("role").map_or(Ok(usual.role), |word| {
        Role::read(&word.to_lowercase()).ok_or_else(|| format!("\"{word}\" is no role: owner, member or guest"))
    })?;
    let ends_at = field("until").map_or(Ok(usual.ends_at), |text| end(text).map(Some))?;
    let mut groups = usual.groups.clone();
    for word in field("groups").unwrap_or_default().split_whitespace() {
        let group = Label::parse(word).map_err(|error| error.to_string())?;
        if !groups.contains(&group) {
            groups.push(group);
        }
    }
    Ok(Newcomer { line, name, title, role, groups, ends_at })
}

/// The account ends when that day begins, in UTC, as `doorward people add --until` has it.
fn end(text: &str) -> Result<Timestamp, String> {
    let day = || text.parse::<jiff::civil::Date>().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok();
    let end = text.parse::<Timestamp>().ok().or_else(|| day().map(|zoned| zoned.timestamp()));
    end.ok_or_else(|| format!("\"{text}\" is no day as 2027-02-01 and no instant as 2027-02-01T12:00:00Z"))
}
