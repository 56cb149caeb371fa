//! The keys of a web service: how its requests are written, and what is mounted at its paths.

use super::file::Fault;
use crate::presets::Preset;
use crate::target::{Target, Verify};
use doorward_core::names::PathPrefix;
use doorward_core::service::ServiceKind;
use doorward_core::web::{HeaderMode, MAX_MOUNTS, Mount, WebOffer};
use std::collections::BTreeMap;
use toml::Spanned;

/// As the service's table has them.
pub(super) struct WebKeys<'a> {
    pub(super) preset: Option<&'a Spanned<String>>,
    pub(super) headers: Option<&'a Spanned<HeaderMode>>,
    pub(super) forwarded: Option<&'a Spanned<bool>>,
    pub(super) mounts: Option<&'a Spanned<BTreeMap<Spanned<String>, Spanned<String>>>>,
    pub(super) verify: Option<&'a Spanned<String>>,
}

/// What these keys and the target come to.
pub(super) struct Web {
    pub(super) target: Target,
    pub(super) mounts: Vec<(PathPrefix, Target)>,
    pub(super) offer: WebOffer,
    /// Whether path prefixes are taken off unless the entrance says.
    pub(super) strips: bool,
}

impl WebKeys<'_> {
    pub(super) fn read(&self, target: &Spanned<String>) -> Result<Web, Fault> {
        let verify = match self.verify {
            Some(given) => Verify::parse(given.get_ref()).map_err(|why| Fault::new(&given.span(), why))?,
            None => Verify::System,
        };
        let preset =
            self.preset.map(|name| Preset::find(name.get_ref()).map_err(|error| Fault::new(&name.span(), error)));
        let preset = preset.transpose()?;
        let parse = |given: &Spanned<String>| {
            Target::parse_with_base(given.get_ref(), verify).map_err(|why| Fault::new(&given.span(), why))
        };
        let (target, base) = parse(target)?;
        let mut mounts = Vec::new();
        for (path, given) in self.mounts.iter().flat_map(|mounts| mounts.get_ref()) {
            mounts.push((mount_path(path, &mounts)?, parse(given)?, given.span()));
        }
        self.check(&target, &mounts)?;
        let usual = preset.map_or(HeaderMode::Preserve, |preset| preset.headers);
        let mut offer = WebOffer {
            headers: self.headers.map_or(usual, |mode| *mode.get_ref()),
            forwarded: self.forwarded.map_or(preset.is_some_and(|p| p.forwarded), |given| *given.get_ref()),
            base,
            protocol: target.protocol(),
            ..WebOffer::default()
        };
        // What its own host is called matters to nobody who is asked under the visitor's.
        if offer.headers == HeaderMode::Rewrite {
            offer.origin = target.origin();
        }
        for (path, (mounted, base), _) in &mounts {
            let origin = if offer.headers == HeaderMode::Rewrite { mounted.origin() } else { Default::default() };
            let (path, protocol, base) = (path.clone(), mounted.protocol(), base.clone());
            offer.mounts.push(Mount { path, origin, protocol, base });
        }
        let mounts = mounts.into_iter().map(|(path, (target, _), _)| (path, target)).collect();
        Ok(Web { target, mounts, offer, strips: preset.is_some_and(|preset| preset.strip) })
    }

    /// No key without effect.
    fn check(&self, target: &Target, mounts: &[Mounted]) -> Result<(), Fault> {
        let is_web = target.kind() == ServiceKind::Http;
        let keys = [
            self.preset.map(Spanned::span),
            self.headers.map(Spanned::span),
            self.forwarded.map(Spanned::span),
            self.mounts.map(Spanned::span),
        ];
        if let (false, Some(at)) = (is_web, keys.into_iter().flatten().next()) {
            return Err(Fault::new(
                &at,
                "this is for web services, whose targets start with http://, https://, h2c:// or h2://",
            ));
        }
        if let Some((_, _, at)) = mounts.iter().find(|(_, (t, _), _)| t.kind() != ServiceKind::Http) {
            return Err(Fault::new(at, "only web targets can be mounted: write http://host:port/"));
        }
        let mut targets = std::iter::once(target).chain(mounts.iter().map(|(_, (target, _), _)| target));
        match self.verify {
            Some(verify) if !targets.any(Target::is_verified) => {
                Err(Fault::new(&verify.span(), "this is for https:// and h2:// targets; this service has none"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

type Mounted = (PathPrefix, (Target, Option<PathPrefix>), std::ops::Range<usize>);

fn mount_path(path: &Spanned<String>, before: &[Mounted]) -> Result<PathPrefix, Fault> {
    let parsed = PathPrefix::parse(path.get_ref()).map_err(|why| Fault::new(&path.span(), why))?;
    if before.iter().any(|(other, _, _)| *other == parsed) {
        return Err(Fault::new(&path.span(), format!("two targets are mounted at {parsed}")));
    }
    if before.len() == MAX_MOUNTS {
        return Err(Fault::new(&path.span(), format!("a service has room for {MAX_MOUNTS} mounts")));
    }
    Ok(parsed)
}
