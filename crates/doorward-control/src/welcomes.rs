//! Welcomes: links by which people become somebody who can sign in.
//!
//! The *first* makes the first owner, once for ever. An account's *own* gives it a new password: from a list that was imported, or after it
//! was locked out. An *invitation* makes somebody new of whoever has it, into groups, with a role and an end. Looking at one changes nothing,
//! so that previews and scanners of mail may: [`Control::accept_welcome`] is what uses it up. Only hashes of them rest; of 160 random
//! bits nothing can be guessed.

mod accept;
pub(crate) mod import;
mod rows;

pub use accept::{Accepted, Answer, WelcomeError};

use crate::accounts::OWNER;
use crate::store::StoreError;
use crate::work::Work;
use crate::{Control, EditError};
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::BASE32_NOPAD;
use doorward_core::audit::Deed;
use doorward_core::names::Label;
use doorward_core::person::{PersonStanding, Role};
use doorward_core::{AccountId, Secret, WelcomeId};
use jiff::{SignedDuration, Timestamp};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    pub id: WelcomeId,
    pub kind: WelcomeKind,
    /// What it is for, as people read it.
    pub title: String,
    /// Of whom it makes; an account's own leaves that account what it is.
    pub role: Role,
    pub groups: Vec<Label>,
    /// When the accounts end that it makes.
    pub account_ends_at: Option<Timestamp>,
    pub uses: u32,
    pub uses_left: u32,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub version: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WelcomeKind {
    /// The first owner.
    First,
    Own(AccountId),
    Invitation,
}

#[derive(Clone, Debug)]
pub struct InvitationRequest {
    pub title: String,
    pub uses: u32,
    pub expires_in: SignedDuration,
    pub role: Role,
    pub groups: Vec<Label>,
    pub account_ends_at: Option<Timestamp>,
}

impl Default for InvitationRequest {
    fn default() -> Self {
        Self {
            title: String::new(),
            uses: 1,
            expires_in: SignedDuration::from_hours(7 * 24),
            role: Role::Member,
            groups: Vec::new(),
            account_ends_at: None,
        }
    }
}

/// One that was just made, in clear for the only time.
#[derive(Debug)]
pub struct MadeWelcome {
    pub id: WelcomeId,
    pub secret: Secret<String>,
    pub expires_at: Timestamp,
}

const MOST_USES: u32 = 10_000;
const LONGEST: SignedDuration = SignedDuration::from_hours(366 * 24);
const FIRST_FOR: SignedDuration = SignedDuration::from_hours(24);
/// For an owner who is locked out: whoever sees the screen has it.
pub(crate) const OWNER_LINK_FOR: SignedDuration = SignedDuration::from_mins(30);
const SECRET_BYTES: usize = 20;

impl Welcome {
    pub fn is_usable(&self, now: Timestamp) -> bool {
        let is_over = self.account_ends_at.is_some_and(|end| end <= now);
        self.revoked_at.is_none() && self.uses_left > 0 && now < self.expires_at && !is_over
    }
}

impl Control {
    /// Whether there was a first owner who chose a password.
    pub async fn is_set_up(&self) -> Result<bool, StoreError> {
        let done = sqlx::query_scalar("SELECT COUNT(*) FROM setup").fetch_one(self.0.store.readers()).await?;
        Ok(i64::is_positive(done))
    }

    /// For the first owner; the one before counts no more. `None`: there was one.
    pub async fn make_first_welcome(&self, now: Timestamp) -> Result<Option<MadeWelcome>, EditError> {
        self.write(move |work| Box::pin(make_first(work, FIRST_FOR, now))).await
    }

    /// For an owner who cannot sign in: the one named, else the first account. Before there was a first owner, that one's.
    pub async fn make_owner_link(&self, name: Option<Label>, now: Timestamp) -> Result<MadeWelcome, EditError> {
        self.write(move |work| {
            Box::pin(async move {
                if name.is_none()
                    && let Some(first) = make_first(work, OWNER_LINK_FOR, now).await?
                {
                    return Ok(first);
                }
                let owner = owner_named(work, name, now)?;
                make_own(work, owner, OWNER_LINK_FOR, now).await
            })
        })
        .await
    }

    /// By which this person sets a new password. The one before counts no more.
    pub async fn make_own_welcome(
        &self,
        account: AccountId,
        length: SignedDuration,
        now: Timestamp,
    ) -> Result<MadeWelcome, EditError> {
        check_length(length)?;
        self.write(move |work| Box::pin(make_own(work, account, length, now))).await
    }

    pub async fn invite_people(&self, request: InvitationRequest, now: Timestamp) -> Result<MadeWelcome, EditError> {
        self.write(move |work| Box::pin(invite(work, request, now))).await
    }

    /// Invitations, the newest first, as long as they are kept.
    pub async fn invitations(&self) -> Result<Vec<Welcome>, StoreError> {
        rows::invitations(&mut *self.0.store.readers().acquire().await?).await
    }

    /// Nobody comes by it from now on; who came by it stays.
    pub async fn revoke_invitation(
        &self,
        id: WelcomeId,
        version: Option<i64>,
        now: Timestamp,
    ) -> Result<(), EditError> {
        self.write(move |work| Box::pin(revoke(work, id, version, now))).await
    }
}

async fn make_first(work: &mut Work, length: SignedDuration, now: Timestamp) -> Result<Option<MadeWelcome>, EditError> {
    if rows::is_set_up(work.connection()).await? {
        return Ok(None);
    }
    rows::forget_firsts(work.connection()).await?;
    let wish = rows::New { title: "the first owner", role: Role::Owner, ..rows::New::of(WelcomeKind::First, length) };
    let made = rows::insert(work, wish, now).await?;
    work.write_down(Deed::WelcomeMade, "the first owner", &format!("until {}", made.expires_at), now).await?;
    Ok(Some(made))
}

fn owner_named(work: &Work, name: Option<Label>, now: Timestamp) -> Result<AccountId, EditError> {
    let person = match &name {
        Some(name) => work.draft.person_by_name(name).cloned(),
        None => work.draft.shared_person(OWNER),
    };
    let person = person
        .ok_or_else(|| EditError::Unknown(format!("person \"{}\"", name.as_ref().map_or("owner", Label::as_str))))?;
    if person.role == Role::Owner && person.standing(now) == PersonStanding::Good {
        return Ok(person.id);
    }
    Err(EditError::Invalid(format!("{} does not own this gateway: name one who does", person.name)))
}

pub(crate) async fn make_own(
    work: &mut Work,
    account: AccountId,
    length: SignedDuration,
    now: Timestamp,
) -> Result<MadeWelcome, EditError> {
    let person =
        work.draft.shared_person(account).ok_or_else(|| EditError::Unknown(format!("person number {account}")))?;
    rows::forget_own(work.connection(), account).await?;
    let wish =
        rows::New { title: &person.title, role: person.role, ..rows::New::of(WelcomeKind::Own(account), length) };
    let made = rows::insert(work, wish, now).await?;
    let detail = format!("a link for a new password until {}", made.expires_at);
    work.write_down(Deed::WelcomeMade, person.name.as_str(), &detail, now).await?;
    Ok(made)
}

async fn invite(work: &mut Work, request: InvitationRequest, now: Timestamp) -> Result<MadeWelcome, EditError> {
    check(&request, now)?;
    let mut groups = Vec::new();
    for name in &request.groups {
        let group = work.draft.group_by_name(name).ok_or_else(|| EditError::Unknown(format!("group \"{name}\"")))?;
        groups.push(group.id);
    }
    let title = crate::enrol::title(&request.title);
    let wish = rows::New {
        title: &title,
        role: request.role,
        uses: request.uses,
        account_ends_at: request.account_ends_at,
        groups: &groups,
        ..rows::New::of(WelcomeKind::Invitation, request.expires_in)
    };
    let made = rows::insert(work, wish, now).await?;
    let people = if request.uses == 1 { "person" } else { "people" };
    let into: Vec<_> = request.groups.iter().map(Label::as_str).collect();
    let into = if into.is_empty() { String::new() } else { format!(" into {}", into.join(", ")) };
    let detail = format!("for {} {people} as {}{into} until {}", request.uses, request.role.word(), made.expires_at);
    work.write_down(Deed::WelcomeMade, &format!("invitation {}", made.id), &detail, now).await?;
    Ok(made)
}

fn check(request: &InvitationRequest, now: Timestamp) -> Result<(), EditError> {
    let refuse = |why: String| Err(EditError::Invalid(why));
    if request.uses == 0 || request.uses > MOST_USES {
        return refuse(format!("an invitation is good for 1 to {MOST_USES} people"));
    }
    if request.role == Role::Owner && request.uses != 1 {
        return refuse("an invitation that makes an owner is good for one person".into());
    }
    if request.account_ends_at.is_some_and(|end| end <= now) {
        return refuse("the accounts would have ended already".into());
    }
    if request.role == Role::Owner && request.account_ends_at.is_some() {
        return refuse("an owner's account does not end by itself".into());
    }
    check_length(request.expires_in)
}

fn check_length(length: SignedDuration) -> Result<(), EditError> {
    if length <= SignedDuration::ZERO || length > LONGEST {
        return Err(EditError::Invalid(
            "a link is good for some time, a year at most: say how long, as 12h or 7d".into(),
        ));
    }
    Ok(())
}

async fn revoke(work: &mut Work, id: WelcomeId, version: Option<i64>, now: Timestamp) -> Result<(), EditError> {
    let known = rows::one(work.connection(), id).await?.filter(|known| known.kind == WelcomeKind::Invitation);
    let known = known.ok_or_else(|| EditError::Unknown(format!("invitation {id}")))?;
    if version.is_some_and(|seen| seen != known.version) {
        return Err(EditError::Stale { current: known.version });
    }
    rows::revoke(work.connection(), id, now).await?;
    work.write_down(Deed::WelcomeRevoked, &format!("invitation {id}"), "", now).await?;
    Ok(())
}

/// Those that expired before.
pub(crate) async fn forget_old(work: &mut Work, before: Timestamp) -> Result<(), StoreError> {
    rows::forget_old(work.connection(), before).await
}

/// 160 random bits as letters and digits.
pub(crate) fn random_text() -> Secret<String> {
    let mut bytes = [0; SECRET_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).expect("the operating system has random bytes");
    let bytes = Secret::new(bytes);
    Secret::new(BASE32_NOPAD.encode(bytes.expose()).to_ascii_lowercase())
}

/// However much of the link around it was pasted, and in whatever case.
fn hash_of(secret: &Secret<String>) -> String {
    let text = secret.expose().rsplit('#').next().unwrap_or_default().trim();
    let text = Secret::new(text.to_ascii_lowercase());
    crate::store::words::hex(digest(&SHA256, text.expose().as_bytes()).as_ref())
}
