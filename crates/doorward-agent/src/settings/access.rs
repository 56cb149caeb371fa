//! Who may use a service, as written: which paths are open may be left to the preset, and is never by itself.

use super::file::Fault;
use crate::presets::Preset;
use doorward_core::access::PolicyDocument;
use doorward_core::service::ServiceKind;
use toml::Spanned;

/// Stands for the paths that the service's preset names.
const OF_PRESET: &str = "preset";

pub(super) fn policy(
    access: Option<&Spanned<PolicyDocument>>,
    preset: Option<&Spanned<String>>,
    kind: ServiceKind,
) -> Result<PolicyDocument, Fault> {
    let Some(access) = access else { return Ok(PolicyDocument::default()) };
    let refuse = |why: String| Fault::new(&access.span(), why);
    let mut policy = access.get_ref().clone();
    if let Some(place) = policy.open_paths.iter().position(|path| path == OF_PRESET) {
        let known = preset.and_then(|name| Preset::find(name.get_ref()).ok());
        let paths = known.map(|preset| preset.open_paths.clone()).filter(|paths| !paths.is_empty());
        let paths = paths.ok_or_else(|| {
            refuse("access.open-paths: the service has no preset that names any: write them, as \"/api/\"".to_owned())
        })?;
        policy.open_paths.splice(place..=place, paths);
    }
    policy.to_policy_for(kind).map_err(|why| refuse(why.to_string()))?;
    Ok(policy)
}
