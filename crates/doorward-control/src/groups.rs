//! Groups: named lists of people. Policies name them.

use crate::enrol::title as readable;
use crate::store::{StoreError, words};
use crate::work::Work;
use crate::{Control, EditError};
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::{AccountId, GroupId};
use jiff::Timestamp;
use sqlx::Row;
use sqlx::sqlite::{SqliteConnection, SqliteRow};
use std::sync::Arc;

/// Who is in it stands with each person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    pub id: GroupId,
    /// What policies say. It stays.
    pub name: Label,
    pub title: String,
    pub created_at: Timestamp,
    pub version: i64,
}

/// People by name. Whoever is in it already, or is not in it anyway, makes no difference.
#[derive(Clone, Debug, Default)]
pub struct GroupEdit {
    pub title: Option<String>,
    pub add: Vec<Label>,
    pub remove: Vec<Label>,
}

const MAX_GROUPS: usize = 10_000;

impl Control {
    pub async fn add_group(
        &self,
        name: Label,
        title: Option<String>,
        members: Vec<Label>,
        now: Timestamp,
    ) -> Result<Arc<Group>, EditError> {
        self.write(move |work| Box::pin(create(work, name, title, members, now))).await
    }

    /// `version`: what the caller saw, if it looked.
    pub async fn edit_group(
        &self,
        name: Label,
        edit: GroupEdit,
        version: Option<i64>,
        now: Timestamp,
    ) -> Result<Arc<Group>, EditError> {
        self.write(move |work| Box::pin(change(work, name, edit, version, now))).await
    }

    pub async fn remove_group(&self, name: Label, version: Option<i64>, now: Timestamp) -> Result<(), EditError> {
        self.write(move |work| Box::pin(remove(work, name, version, now))).await
    }
}

async fn create(
    work: &mut Work,
    name: Label,
    title: Option<String>,
    members: Vec<Label>,
    now: Timestamp,
) -> Result<Arc<Group>, EditError> {
    if work.draft.group_by_name(&name).is_some() {
        return Err(EditError::Taken(format!("there is a group \"{name}\" already")));
    }
    if work.draft.groups().count() >= MAX_GROUPS {
        return Err(EditError::Invalid(format!(
            "there are {MAX_GROUPS} groups already, which is as many as there may be"
        )));
    }
    let members = named(work, &members)?;
    let id = GroupId(work.next_id("group").await?);
    let title = title.as_deref().map(readable).filter(|title| !title.is_empty()).unwrap_or_else(|| name.to_string());
    sqlx::query("INSERT INTO person_groups (id, name, title, created_at, version) VALUES ($1, $2, $3, $4, 1)")
        .bind(id.0)
        .bind(name.as_str())
        .bind(title)
        .bind(words::time(now))
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    enter(work, id, &members).await?;
    work.refresh_group(&name).await?;
    let detail = format!("made, with {} people", members.len());
    work.write_down(Deed::GroupChanged, name.as_str(), &detail, now).await?;
    Ok(work.draft.group_by_name(&name).expect("it was just put there").clone())
}

async fn change(
    work: &mut Work,
    name: Label,
    edit: GroupEdit,
    version: Option<i64>,
    now: Timestamp,
) -> Result<Arc<Group>, EditError> {
    let group = known(work, &name, version)?;
    let (added, removed) = (named(work, &edit.add)?, named(work, &edit.remove)?);
    let title = edit.title.as_deref().map(readable).unwrap_or_else(|| group.title.clone());
    sqlx::query("UPDATE person_groups SET title = $1, version = version + 1 WHERE id = $2")
        .bind(title)
        .bind(group.id.0)
        .execute(work.connection())
        .await
        .map_err(StoreError::from)?;
    enter(work, group.id, &added).await?;
    for account in &removed {
        sqlx::query("DELETE FROM memberships WHERE person_group = $1 AND account = $2")
            .bind(group.id.0)
            .bind(account.0)
            .execute(work.connection())
            .await
            .map_err(StoreError::from)?;
        work.refresh_person(*account).await?;
    }
    work.refresh_group(&name).await?;
    let people = |names: &[Label]| names.iter().map(Label::as_str).collect::<Vec<_>>().join(", ");
    let said = [("added: ", people(&edit.add)), ("removed: ", people(&edit.remove))];
    let said: Vec<_> =
        said.into_iter().filter(|(_, names)| !names.is_empty()).map(|(word, names)| word.to_owned() + &names).collect();
    work.write_down(Deed::GroupChanged, name.as_str(), &said.join("; "), now).await?;
    Ok(work.draft.group_by_name(&name).expect("it was just put there").clone())
}

async fn remove(work: &mut Work, name: Label, version: Option<i64>, now: Timestamp) -> Result<(), EditError> {
    let group = known(work, &name, version)?;
    let members = work.draft.members_of(&group).filter_map(|member| work.draft.person_by_name(member));
    let members: Vec<_> = members.map(|person| person.id).collect();
    for statement in ["DELETE FROM memberships WHERE person_group = $1", "DELETE FROM person_groups WHERE id = $1"] {
        sqlx::query(statement).bind(group.id.0).execute(work.connection()).await.map_err(StoreError::from)?;
    }
    for account in members {
        work.refresh_person(account).await?;
    }
    work.refresh_group(&name).await?;
    work.write_down(Deed::GroupChanged, name.as_str(), "removed", now).await?;
    Ok(())
}

async fn enter(work: &mut Work, group: GroupId, accounts: &[AccountId]) -> Result<(), StoreError> {
    for account in accounts {
        sqlx::query("INSERT INTO memberships (person_group, account) VALUES ($1, $2) ON CONFLICT DO NOTHING")
            .bind(group.0)
            .bind(account.0)
            .execute(work.connection())
            .await?;
        work.refresh_person(*account).await?;
    }
    Ok(())
}

fn named(work: &Work, names: &[Label]) -> Result<Vec<AccountId>, EditError> {
    let one = |name: &Label| {
        let person = work.draft.person_by_name(name);
        person.map(|person| person.id).ok_or_else(|| EditError::Unknown(format!("person \"{name}\"")))
    };
    names.iter().map(one).collect()
}

fn known(work: &Work, name: &Label, version: Option<i64>) -> Result<Arc<Group>, EditError> {
    let group = work.draft.group_by_name(name).ok_or_else(|| EditError::Unknown(format!("group \"{name}\"")))?;
    match version {
        Some(seen) if seen != group.version => Err(EditError::Stale { current: group.version }),
        Some(_) | None => Ok(group.clone()),
    }
}

const GROUPS: &str = "SELECT id, name, title, created_at, version FROM person_groups";
const GROUP: &str = "SELECT id, name, title, created_at, version FROM person_groups WHERE name = $1";

pub(crate) async fn load(connection: &mut SqliteConnection) -> Result<Vec<Group>, StoreError> {
    sqlx::query(GROUPS).fetch_all(connection).await?.iter().map(read).collect()
}

/// `None` if it is gone.
pub(crate) async fn load_one(connection: &mut SqliteConnection, name: &Label) -> Result<Option<Group>, StoreError> {
    let row = sqlx::query(GROUP).bind(name.as_str()).fetch_optional(connection).await?;
    row.as_ref().map(read).transpose()
}

fn read(row: &SqliteRow) -> Result<Group, StoreError> {
    Ok(Group {
        id: GroupId(row.try_get("id")?),
        name: words::read_label(row.try_get("name")?)?,
        title: row.try_get("title")?,
        created_at: words::read_time(row.try_get("created_at")?)?,
        version: row.try_get("version")?,
    })
}
