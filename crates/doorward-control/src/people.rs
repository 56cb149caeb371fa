//! People: added, edited, removed. There is always an owner whose account does not end.

pub(crate) mod data;

use crate::accounts::OWNER;
use crate::enrol::title as readable;
use crate::ssh::certificates;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError, logins, sessions};
use doorward_core::AccountId;
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::person::{Person, Role};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::collections::HashMap;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct NewPerson {
    pub name: Label,
    /// The name, if there is none.
    pub title: Option<String>,
    pub role: Role,
    pub ends_at: Option<Timestamp>,
}

/// What to change; `None` leaves it.
#[derive(Clone, Debug, Default)]
pub struct PersonEdit {
    pub title: Option<String>,
    pub role: Option<Role>,
    /// `Some(None)`: for ever.
    pub ends_at: Option<Option<Timestamp>>,
    pub is_disabled: Option<bool>,
}

const MAX_PEOPLE: usize = 100_000;

impl Control {
    pub async fn add_person(&self, new: NewPerson, now: Timestamp) -> Result<Arc<Person>, EditError> {
        self.write(move |work| {
            Box::pin(async move {
                if work.draft.person_by_name(&new.name).is_some() {
                    return Err(EditError::Taken(format!("there is a person \"{}\" already", new.name)));
                }
                let id = insert(work, new, now).await?;
                Ok(work.draft.shared_person(id).expect("they were just put there"))
            })
        })
        .await
    }

    /// Whoever is disabled comes in nowhere, and their sessions and logins are over. `version`: what the caller saw, if it looked.
    pub async fn edit_person(
        &self,
        id: AccountId,
        edit: PersonEdit,
        version: Option<i64>,
        now: Timestamp,
    ) -> Result<Arc<Person>, EditError> {
        self.write(move |work| Box::pin(change(work, id, edit, version, now))).await
    }

    /// With all that is known of them, but for the lines of the audit: those go when their time is over.
    pub async fn remove_person(&self, id: AccountId, version: Option<i64>, now: Timestamp) -> Result<(), EditError> {
        self.write(move |work| Box::pin(remove(work, id, version, now))).await
    }
}

pub(crate) async fn insert(work: &mut Work, new: NewPerson, now: Timestamp) -> Result<AccountId, EditError> {
    if work.draft.headcount() >= MAX_PEOPLE {
        return Err(EditError::Invalid(format!(
            "there are {MAX_PEOPLE} people already, which is as many as there may be"
        )));
    }
    if new.ends_at.is_some_and(|end| end <= now) {
        return Err(EditError::Invalid("the account would have ended already".into()));
    }
    let id = AccountId(work.next_id("account").await?);
    let title = new.title.as_deref().map(readable).unwrap_or_default();
    let title = if title.is_empty() { new.name.to_string() } else { title };
    sqlx::query(
        "INSERT INTO accounts (id, name, title, role, created_at, ends_at, version) VALUES ($1, $2, $3, $4, $5, $6, 1)",
    )
    .bind(id.0)
    .bind(new.name.as_str())
    .bind(title)
    .bind(new.role.word())
    .bind(words::time(now))
    .bind(new.ends_at.map(words::time))
    .execute(work.connection())
    .await
    .map_err(StoreError::from)?;
    work.refresh_person(id).await?;
    work.write_down(Deed::PersonAdded, new.name.as_str(), &describe(new.role, new.ends_at), now).await?;
    Ok(id)
}

pub(crate) async fn change(
    work: &mut Work,
    id: AccountId,
    edit: PersonEdit,
    version: Option<i64>,
    now: Timestamp,
) -> Result<Arc<Person>, EditError> {
    let person = known(work, id, version)?;
    let disabled_at = match edit.is_disabled {
        None => person.disabled_at,
        Some(false) => None,
        Some(true) => person.disabled_at.or(Some(now)),
    };
    let changed = Person {
        title: edit.title.as_deref().map(readable).unwrap_or_else(|| person.title.clone()),
        role: edit.role.unwrap_or(person.role),
        ends_at: edit.ends_at.unwrap_or(person.ends_at),
        disabled_at,
        ..Person::clone(&person)
    };
    if changed == *person {
        return Ok(person);
    }
    leave_an_owner(work, id, Some(&changed))?;
    sqlx::query("UPDATE accounts SET title = $1, role = $2, ends_at = $3, disabled_at = $4, version = version + 1 WHERE id = $5")
        .bind(&changed.title)
        .bind(changed.role.word())
        .bind(changed.ends_at.map(words::time))
        .bind(changed.disabled_at.map(words::time))
        .bind(id.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    work.refresh_person(id).await?;
    if changed.disabled_at.is_some() {
        sessions::end_all_of(work, id, now).await?;
        logins::end_all_of(work, id, None, now).await?;
    }
    let mut detail = describe(changed.role, changed.ends_at);
    if changed.disabled_at.is_some() {
        detail += ", disabled";
    }
    work.write_down(Deed::PersonChanged, person.name.as_str(), &detail, now).await?;
    Ok(work.draft.shared_person(id).expect("they were just put there"))
}

async fn remove(work: &mut Work, id: AccountId, version: Option<i64>, now: Timestamp) -> Result<(), EditError> {
    let person = known(work, id, version)?;
    leave_an_owner(work, id, None)?;
    if id == OWNER || owns_something(work, id).await? {
        let why = format!(
            "{} owns devices, names or invites, which would be nobody's: disable the account instead",
            person.name
        );
        return Err(EditError::Invalid(why));
    }
    sessions::end_all_of(work, id, now).await?;
    logins::end_all_of(work, id, None, now).await?;
    for statement in [
        "DELETE FROM sessions WHERE account = $1",
        "DELETE FROM given_answers WHERE account = $1",
        "DELETE FROM ssh_keys WHERE account = $1",
        "DELETE FROM knock_keys WHERE account = $1",
        "DELETE FROM memberships WHERE account = $1",
        "DELETE FROM accounts WHERE id = $1",
    ] {
        sqlx::query(statement).bind(id.0).execute(work.connection()).await.map_err(StoreError::from)?;
    }
    certificates::forget_all_of(work, &person.name).await?;
    work.refresh_ssh_keys().await?;
    work.refresh_knock_keys().await?;
    work.refresh_person(id).await?;
    work.write_down(Deed::PersonRemoved, person.name.as_str(), "", now).await?;
    Ok(())
}

/// Who came by an invitation or a list, and whose account ended before: they go, unless something is theirs. Until then they can be given
/// more time, and the list of people says that they ended.
pub(crate) async fn remove_who_ended(work: &mut Work, before: Timestamp, now: Timestamp) -> Result<(), StoreError> {
    const ENDED: &str =
        "SELECT id FROM accounts WHERE came_by IS NOT NULL AND ends_at < $1 AND role <> 'owner' LIMIT 100";
    let ended: Vec<i64> = sqlx::query_scalar(ENDED).bind(words::time(before)).fetch_all(work.connection()).await?;
    for id in ended {
        match remove(work, AccountId(id), None, now).await {
            Ok(()) => {}
            Err(EditError::Store(error)) => return Err(error),
            // They own something: looked at once, and left to the owner.
            Err(
                EditError::Unknown(_)
                | EditError::Stale { .. }
                | EditError::Taken(_)
                | EditError::Invalid(_)
                | EditError::TooEarly(_),
            ) => {
                sqlx::query("UPDATE accounts SET came_by = NULL WHERE id = $1")
                    .bind(id)
                    .execute(work.connection())
                    .await?;
            }
        }
    }
    Ok(())
}

async fn owns_something(work: &mut Work, id: AccountId) -> Result<bool, StoreError> {
    const OWNED: &str = "SELECT (SELECT COUNT(*) FROM devices WHERE account = $1) \
         + (SELECT COUNT(*) FROM services WHERE account = $1) + (SELECT COUNT(*) FROM invites WHERE account = $1) \
         + (SELECT COUNT(*) FROM grants WHERE account = $1)";
    let owned: i64 = sqlx::query_scalar(OWNED).bind(id.0).fetch_one(work.connection()).await?;
    Ok(owned > 0)
}

/// `after`: what becomes of this one; `None`: they go.
fn leave_an_owner(work: &Work, id: AccountId, after: Option<&Person>) -> Result<(), EditError> {
    let stays =
        |person: &Person| person.role == Role::Owner && person.disabled_at.is_none() && person.ends_at.is_none();
    let mut others = work.draft.people().filter(|person| person.id != id);
    if after.is_some_and(stays) || others.any(|person| stays(person)) {
        return Ok(());
    }
    Err(EditError::Invalid("nobody would be left who owns this gateway: make somebody else an owner first".into()))
}

fn known(work: &Work, id: AccountId, version: Option<i64>) -> Result<Arc<Person>, EditError> {
    let person = work.draft.shared_person(id).ok_or_else(|| EditError::Unknown(format!("person number {id}")))?;
    match version {
        Some(seen) if seen != person.version => Err(EditError::Stale { current: person.version }),
        Some(_) | None => Ok(person),
    }
}

fn describe(role: Role, ends_at: Option<Timestamp>) -> String {
    let end = ends_at.map(|end| format!(" until {end}")).unwrap_or_default();
    format!("{}{end}", role.word())
}

const PEOPLE: &str = "SELECT id, name, title, role, created_at, ends_at, disabled_at, version FROM accounts";
const PERSON: &str =
    "SELECT id, name, title, role, created_at, ends_at, disabled_at, version FROM accounts WHERE id = $1";
const MEMBERSHIPS: &str =
    "SELECT m.account, g.name FROM memberships m JOIN person_groups g ON g.id = m.person_group ORDER BY g.name";
const MEMBERSHIPS_OF: &str = "SELECT m.account, g.name FROM memberships m JOIN person_groups g ON g.id = m.person_group \
                              WHERE m.account = $1 ORDER BY g.name";

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<Person>, StoreError> {
    let mut groups: HashMap<i64, Vec<Label>> = HashMap::new();
    for row in sqlx::query(MEMBERSHIPS).fetch_all(&mut *connection).await? {
        groups.entry(row.try_get("account")?).or_default().push(words::read_label(row.try_get("name")?)?);
    }
    let rows = sqlx::query(PEOPLE).fetch_all(connection).await?;
    rows.iter().map(|row| read(row, groups.remove(&row.try_get("id")?).unwrap_or_default())).collect()
}

/// `None` if they are gone.
pub(crate) async fn load_one(connection: &mut SqliteConnection, id: AccountId) -> Result<Option<Person>, StoreError> {
    let row = sqlx::query(PERSON).bind(id.0).fetch_optional(&mut *connection).await?;
    let Some(row) = row else { return Ok(None) };
    let groups = sqlx::query(MEMBERSHIPS_OF).bind(id.0).fetch_all(connection).await?;
    let groups = groups.iter().map(|row| words::read_label(row.try_get("name")?)).collect::<Result<_, StoreError>>()?;
    read(&row, groups).map(Some)
}

fn read(row: &SqliteRow, groups: Vec<Label>) -> Result<Person, StoreError> {
    let role: &str = row.try_get("role")?;
    Ok(Person {
        id: AccountId(row.try_get("id")?),
        name: words::read_label(row.try_get("name")?)?,
        title: row.try_get("title")?,
        role: Role::read(role).ok_or_else(|| words::strange("a role", role))?,
        created_at: words::read_time(row.try_get("created_at")?)?,
        ends_at: words::read_optional_time(row.try_get("ends_at")?)?,
        disabled_at: words::read_optional_time(row.try_get("disabled_at")?)?,
        groups,
        version: row.try_get("version")?,
    })
}
