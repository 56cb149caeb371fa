//! The keys of a web service: how its requests are written, and what is mounted at its paths.

use super::file::Fault;
use super::pages::PageFiles;
use crate::presets::Preset;
use crate::target::{Target, TargetDocument, Verify};
use doorward_core::names::PathPrefix;
use doorward_core::service::ServiceKind;
use doorward_core::web::{HeaderMode, MAX_MOUNTS, Mount, TargetOrigin, WebOffer};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use toml::Spanned;

pub(super) type MountsTable = BTreeMap<Spanned<String>, Spanned<TargetDocument>>;

/// As the service's table has them.
pub(super) struct WebKeys<'a> {
    pub(super) preset: Option<&'a Spanned<String>>,
    pub(super) headers: Option<&'a Spanned<HeaderMode>>,
    pub(super) forwarded: Option<&'a Spanned<bool>>,
    pub(super) mounts: Option<&'a Spanned<MountsTable>>,
    pub(super) verify: Option<&'a Spanned<String>>,
    pub(super) password_file: Option<&'a Spanned<PathBuf>>,
    pub(super) pages: Option<&'a Spanned<PageFiles>>,
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
        let usual = self.verify.map(Spanned::get_ref).map(String::as_str);
        let verify = verify(usual, &self.verify.map(Spanned::span).unwrap_or_default())?;
        let preset =
            self.preset.map(|name| Preset::find(name.get_ref()).map_err(|error| Fault::new(&name.span(), error)));
        let preset = preset.transpose()?;
        let parse = |given: &str, verify: Verify, at: &Range<usize>| {
            Target::parse_with_base(given, verify).map_err(|why| Fault::new(at, why))
        };
        let (target, base) = parse(target.get_ref(), verify, &target.span())?;
        let target = self.password_file.map_or(Ok(target.clone()), |file| {
            target.with_password_file(file.get_ref()).map_err(|why| Fault::new(&file.span(), why))
        })?;
        let mut mounts = Vec::new();
        for (path, given) in self.mounts.iter().flat_map(|mounts| mounts.get_ref()) {
            let (at, mount) = (given.span(), given.get_ref());
            let verify = match &mount.verify {
                Some(own) => own_verify(own, &mount.target, &at)?,
                None => verify,
            };
            let (mounted, base) = parse(&mount.target, verify, &at)?;
            let mounted = mount.password_file.as_ref().map_or(Ok(mounted.clone()), |file| {
                mounted.with_password_file(file).map_err(|why| Fault::new(&at, why))
            })?;
            mounts.push((mount_path(path, &mounts)?, (mounted, base), at));
        }
        self.check(&target, &mounts)?;
        let usual = preset.map_or(HeaderMode::Preserve, |preset| preset.headers);
        let headers = self.headers.map_or(usual, |mode| *mode.get_ref());
        let forwarded = self.forwarded.map_or(preset.is_some_and(|p| p.forwarded), |given| *given.get_ref());
        let mounts: Vec<_> = mounts.into_iter().map(|(path, target, _)| (path, target)).collect();
        let offer = WebOffer { forwarded, ..offer(headers, (&target, base), &mounts) };
        let mounts = mounts.into_iter().map(|(path, (target, _))| (path, target)).collect();
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
            self.pages.filter(|pages| !pages.get_ref().is_empty()).map(Spanned::span),
        ];
        if let (false, Some(at)) = (is_web, keys.into_iter().flatten().next()) {
            return Err(Fault::new(
                &at,
                "this is for web services, whose targets start with http://, https://, h2c:// or h2://",
            ));
        }
        if let Some((_, _, at)) = mounts.iter().find(|(_, (t, _), _)| !t.kind().has_web_address()) {
            return Err(Fault::new(
                at,
                "only web targets and cameras can be mounted: write http://host:port/ or camera+http://host:port/",
            ));
        }
        let mut targets = std::iter::once(target).chain(mounts.iter().map(|(_, (target, _), _)| target));
        match self.verify {
            Some(verify) if !targets.any(Target::is_verified) => Err(Fault::new(
                &verify.span(),
                "this is for https://, h2:// and camera+https:// targets; this service has none",
            )),
            Some(_) | None => Ok(()),
        }
    }
}

/// What the gateway is told of these targets.
pub(crate) fn offer(
    headers: HeaderMode,
    (target, base): (&Target, Option<PathPrefix>),
    mounts: &[(PathPrefix, (Target, Option<PathPrefix>))],
) -> WebOffer {
    // What its own host is called matters to nobody who is asked under the visitor's.
    let origin = |target: &Target| match headers {
        HeaderMode::Rewrite => target.origin(),
        HeaderMode::Preserve => TargetOrigin::default(),
    };
    let mount = |(path, (target, base)): &(PathPrefix, (Target, Option<PathPrefix>))| Mount {
        path: path.clone(),
        origin: origin(target),
        protocol: target.protocol(),
        base: base.clone(),
        camera: target.kind() == ServiceKind::Camera,
    };
    let mounts = mounts.iter().map(mount).collect();
    WebOffer { headers, origin: origin(target), protocol: target.protocol(), base, mounts, ..WebOffer::default() }
}

fn verify(given: Option<&str>, at: &Range<usize>) -> Result<Verify, Fault> {
    given.map_or(Ok(Verify::System), |given| Verify::parse(given).map_err(|why| Fault::new(at, why)))
}

fn own_verify(given: &str, target: &str, at: &Range<usize>) -> Result<Verify, Fault> {
    if !["https://", "h2://", "camera+https://"].iter().any(|scheme| target.starts_with(scheme)) {
        return Err(Fault::new(at, "verify is for https://, h2:// and camera+https:// targets; this is another"));
    }
    verify(Some(given), at)
}

type Mounted = (PathPrefix, (Target, Option<PathPrefix>), Range<usize>);

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
