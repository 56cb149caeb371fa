//! Share links: whoever has one comes to one service for a while, without an account. What somebody who used one may is a
//! decision like any other; it looks the share up each time, and so ends with it.

use crate::access::{Denied, End, Facts, How, Policy, Proof, Terms, Who};
use crate::login::is_ahead;
use crate::person::{Person, PersonStanding, Role};
use crate::service::{Service, ServiceKind, Standing};
use crate::{AccountId, ServiceId, ShareId};
use jiff::{SignedDuration, Timestamp};
use std::num::NonZeroU32;
use thiserror::Error;

/// One that was not revoked; its time may be over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Share {
    pub id: ShareId,
    pub service: ServiceId,
    /// Who made it. It lasts no longer than they may have it.
    pub account: AccountId,
    /// For whom or what, as its maker reads it.
    pub title: String,
    pub made_at: Timestamp,
    /// An instant, so that nothing which happens meanwhile makes it longer.
    pub until: Timestamp,
    /// GET, HEAD and OPTIONS, and nothing else.
    pub is_read_only: bool,
    pub has_pin: bool,
    /// How many browsers it lets in; `None`: as many as come.
    pub uses: Option<NonZeroU32>,
    pub used: u32,
    pub version: i64,
}

/// One browser that used a share: the first that did has number 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShareUse {
    pub share: ShareId,
    pub number: u32,
}

/// What a policy says of share links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sharing {
    /// From when a link was made.
    pub longest: SignedDuration,
}

/// What a link shall be.
#[derive(Clone, Debug)]
pub struct ShareWish {
    pub title: String,
    pub length: SignedDuration,
    pub uses: Option<NonZeroU32>,
    pub is_read_only: bool,
    pub has_pin: bool,
}

/// Where nobody says how long.
pub const USUAL_LENGTH: SignedDuration = SignedDuration::from_hours(4);
/// One that is over before it was sent is of no use to anybody.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);

#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShareRefusal {
    #[error(
        "only web services can be shared by a link: at a bare port nobody can show one (name people or networks in its policy)"
    )]
    NotWeb,
    #[error("it is public: its address is all that anybody needs")]
    Public,
    #[error("its policy allows no share links (`share-links = \"7d\"` in its access allows them, for so long at most)")]
    NotAllowed,
    #[error("the device was revoked")]
    DeviceRevoked,
    #[error("only its owner, or an owner of the gateway, makes share links for it")]
    NotTheirs,
    #[error("a share link lasts some time: say how long, as 30m or 4h")]
    NoTime,
}

impl Policy {
    /// How long a share link may last; `None`: there is none. What somebody has on request is shared no longer than it is had.
    pub fn longest_share(&self) -> Option<SignedDuration> {
        let longest = self.sharing?.longest;
        match self.how {
            How::SignedIn => Some(longest),
            How::OnRequest { max_duration, .. } => Some(longest.min(max_duration)),
        }
    }
}

impl Share {
    /// When it ends, as its service and its maker are now. `None`: it counts no more.
    pub fn end(&self, service: &Service, facts: &dyn Facts, now: Timestamp) -> Option<Timestamp> {
        let maker = facts.person(self.account).filter(|maker| may_share(maker, service, now))?;
        let longest = service.policy.longest_share()?;
        let allowed = self.made_at.checked_add(longest).unwrap_or(Timestamp::MAX);
        let end = self.until.min(allowed).min(maker.ends_at.unwrap_or(Timestamp::MAX));
        (self.service == service.id && now < end && !is_ahead(self.made_at, now)).then_some(end)
    }

    /// Whether one browser more may use it.
    pub fn has_uses_left(&self) -> bool {
        self.uses.is_none_or(|uses| self.used < uses.get())
    }
}

fn may_share(person: &Person, service: &Service, now: Timestamp) -> bool {
    let is_theirs = service.account == person.id || person.role == Role::Owner;
    is_theirs && person.standing(now) == PersonStanding::Good
}

/// What one person has at a time, whoever has a link may watch: they do not stand in the line.
fn only_looks(service: &Service) -> bool {
    service.policy.exclusive.is_some()
}

/// `wish` as this person gets it at `now`: never longer than policy and account allow.
pub fn grant(
    service: &Service,
    wish: ShareWish,
    maker: &Person,
    id: ShareId,
    now: Timestamp,
) -> Result<Share, ShareRefusal> {
    match service.kind {
        ServiceKind::Http | ServiceKind::Camera => {}
        ServiceKind::Tcp | ServiceKind::Udp => return Err(ShareRefusal::NotWeb),
    }
    match service.standing {
        Standing::Offered | Standing::Withdrawn => {}
        Standing::DeviceRevoked => return Err(ShareRefusal::DeviceRevoked),
    }
    if service.policy.who == Who::Public {
        return Err(ShareRefusal::Public);
    }
    if !may_share(maker, service, now) {
        return Err(ShareRefusal::NotTheirs);
    }
    let longest = service.policy.longest_share().ok_or(ShareRefusal::NotAllowed)?;
    if wish.length < SHORTEST {
        return Err(ShareRefusal::NoTime);
    }
    let until = now.checked_add(wish.length.min(longest)).unwrap_or(Timestamp::MAX);
    Ok(Share {
        id,
        service: service.id,
        account: maker.id,
        title: wish.title,
        made_at: now,
        until: until.min(maker.ends_at.unwrap_or(Timestamp::MAX)),
        is_read_only: wish.is_read_only || only_looks(service),
        has_pin: wish.has_pin,
        uses: wish.uses,
        used: 0,
        version: 1,
    })
}

/// For whoever is not let in by who they are: `why`.
pub(crate) fn admit(
    service: &Service,
    proofs: &[Proof],
    facts: &dyn Facts,
    now: Timestamp,
    why: Denied,
) -> Result<Terms, Denied> {
    let mut used = proofs.iter().filter_map(Proof::share).map(|used| used.share);
    let counts = |id| {
        let share = facts.share(id)?;
        let until = share.end(service, facts, now)?;
        Some(Terms { end: End::at(Some(until)), is_read_only: share.is_read_only || only_looks(service) })
    };
    let has_one = used.clone().next().is_some();
    // Who could do something else to come in is told of that.
    let is_hopeless = matches!(why, Denied::Nobody | Denied::NotOneOfThem);
    used.find_map(counts).ok_or(if has_one && is_hopeless { Denied::ShareOver } else { why })
}
