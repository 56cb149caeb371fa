//! Everything but what the firewall's programs need, CAP_NET_ADMIN, is given up before the first message is heard. Rights belong to threads, so this runs
//! while there is only one.

use crate::error::RouterError;
use rustix::process::{Gid, Uid, geteuid};
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set, capability_is_in_bounding_set,
    clear_ambient_capability_set, configure_capability_in_ambient_set, remove_capability_from_bounding_set,
    set_capabilities, set_keep_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid,
    set_thread_res_uid,
};
use std::io;
use std::process::Command;

/// A user of this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct User {
    uid: Uid,
    gid: Gid,
}

/// Enough for netlink.
pub(crate) const NET_ADMIN: CapabilitySet = CapabilitySet::NET_ADMIN;
/// iptables of the old kind speaks to the kernel through a raw socket.
pub(crate) const NET_ADMIN_AND_RAW: CapabilitySet = CapabilitySet::NET_ADMIN.union(CapabilitySet::NET_RAW);

impl User {
    /// By name or number. `id` also knows the users that systemd makes for a service while it runs.
    pub(crate) fn find(name: &str) -> Result<Self, RouterError> {
        let number = |word: &str| {
            let output = Command::new("/usr/bin/id").args([word, "--", name]).output().ok()?;
            String::from_utf8(output.stdout).ok()?.trim().parse::<u32>().ok().filter(|_| output.status.success())
        };
        match (number("-u"), number("-g")) {
            (Some(uid), Some(gid)) => Ok(Self { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) }),
            (_, _) => Err(RouterError::NoUser(name.to_owned())),
        }
    }

    pub(crate) fn is(self, uid: Uid) -> bool {
        self.uid == uid
    }
}

/// What we were given, if `needed` is part of it.
pub(crate) fn given(needed: CapabilitySet) -> Result<CapabilitySet, RouterError> {
    let there = capabilities(None).map_err(|error| RouterError::Rights("capget", error.into()))?.permitted;
    let named = [(CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN"), (CapabilitySet::NET_RAW, "CAP_NET_RAW")];
    let is_missing = |capability: CapabilitySet| needed.contains(capability) && !there.contains(capability);
    match named.iter().find(|(capability, _)| is_missing(*capability)) {
        Some((_, name)) => Err(RouterError::NoRights(name)),
        None => Ok(there),
    }
}

/// `user`: whom to become where root started us.
pub(crate) fn give_up(user: Option<User>, kept: CapabilitySet) -> Result<(), RouterError> {
    let there = given(kept)?;
    if there.contains(CapabilitySet::SETPCAP) {
        each_capability(|capability| match kept.contains(capability) {
            true => Ok(()),
            false => remove_capability_from_bounding_set(capability),
        })
        .map_err(|error| RouterError::Rights("bounding set", error))?;
    }
    if let Some(user) = user {
        become_user(user).map_err(|error| RouterError::Rights("user", error))?;
    }
    keep(kept).map_err(|error| RouterError::Rights("capabilities", error))?;
    verify(there, kept)
}

fn become_user(user: User) -> io::Result<()> {
    set_keep_capabilities(true)?;
    // A user namespace may forbid it, and has no groups of the machine then.
    if user.uid != geteuid() {
        set_thread_groups(&[])?;
    }
    set_thread_res_gid(user.gid, user.gid, user.gid)?;
    Ok(set_thread_res_uid(user.uid, user.uid, user.uid)?)
}

fn keep(kept: CapabilitySet) -> io::Result<()> {
    set_capabilities(None, CapabilitySets { effective: kept, permitted: kept, inheritable: kept })?;
    clear_ambient_capability_set()?;
    // Our programs need them, too, and have nothing of their own.
    for capability in kept.iter() {
        configure_capability_in_ambient_set(capability, true)?;
    }
    Ok(set_no_new_privs(true)?)
}

/// Believes nothing.
fn verify(before: CapabilitySet, kept: CapabilitySet) -> Result<(), RouterError> {
    let left = capabilities(None).map_err(|error| RouterError::Rights("capget", error.into()))?;
    for (set, name) in [(left.effective, "effective"), (left.permitted, "permitted"), (left.inheritable, "inheritable")]
    {
        if set != kept {
            return Err(RouterError::RightsLeft(format!("{:#x} as {name} capabilities", set.bits())));
        }
    }
    // Who may not reduce the bounding set had nothing that could use it, since programs gain no rights any more.
    let is_bounded = before.contains(CapabilitySet::SETPCAP);
    let checked = each_capability(|capability| {
        let is_more = !kept.contains(capability)
            && (capability_is_in_ambient_set(capability)? || is_bounded && capability_is_in_bounding_set(capability)?);
        if is_more { Err(rustix::io::Errno::EXIST) } else { Ok(()) }
    });
    checked.map_err(|_| RouterError::RightsLeft("a capability that programs would inherit".to_owned()))
}

/// Those that the running kernel knows; it answers EINVAL past its last one.
fn each_capability(mut action: impl FnMut(CapabilitySet) -> rustix::io::Result<()>) -> io::Result<()> {
    for bit in 0..u64::BITS {
        let capability = CapabilitySet::from_bits_retain(1 << bit);
        match capability_is_in_bounding_set(capability) {
            Err(rustix::io::Errno::INVAL) => return Ok(()),
            Err(error) => return Err(error.into()),
            Ok(_) => action(capability)?,
        }
    }
    Ok(())
}
