//! `[sign-in]` of `gateway.toml`: where people may sign in besides the portal. Secrets are in files or the environment, and read here.

use doorward_core::Secret;
use doorward_core::names::Label;
use doorward_core::person::Role;
use doorward_core::person::factors::Factor;
use doorward_core::person::provided::{Newcomers, ProviderRules};
use doorward_core::span::parse_span;
use doorward_oidc::{Issuer, ProviderSettings, Trust};
use jiff::SignedDuration;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct SignInFile {
    /// Identity providers.
    #[serde(default)]
    pub oidc: Vec<OidcFile>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct OidcFile {
    pub name: Label,
    /// On the button; the name unless said.
    pub title: Option<String>,
    pub issuer: String,
    pub client_id: String,
    pub client_secret_file: Option<PathBuf>,
    /// The name of the variable that holds it.
    pub client_secret_env: Option<String>,
    pub scopes: Option<Vec<String>>,
    pub groups_claim: Option<String>,
    #[serde(default)]
    pub newcomers: NewcomersFile,
    /// From the provider's words to groups here.
    #[serde(default)]
    pub groups: BTreeMap<String, Label>,
    #[serde(default)]
    pub roles: BTreeMap<String, Role>,
    /// From its `acr` and `amr`.
    #[serde(default)]
    pub counts_as: BTreeMap<String, CountsAs>,
    pub login_for: Option<String>,
    pub ca_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NewcomersFile {
    #[default]
    Refused,
    Guests,
    Members,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CountsAs {
    Totp,
    Passkey,
}

/// Nobody tells us when somebody's account there has ended: then they are out within a day.
const USUAL_LOGIN: SignedDuration = SignedDuration::from_hours(24);
const LONGEST_LOGIN: SignedDuration = SignedDuration::from_hours(90 * 24);

pub(super) fn providers(
    files: Vec<OidcFile>,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<Vec<ProviderSettings>, String> {
    let (mut names, mut issuers, mut providers) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
    for file in files {
        let provider = file.provider(&environment)?;
        if !names.insert(provider.name.clone()) {
            return Err(format!("two are called {:?}: give each a name of its own", provider.name.as_str()));
        }
        // Who somebody is there says nothing of which of the two they came by.
        if !issuers.insert(provider.issuer.to_string()) {
            return Err(format!("{} is there twice: one is enough", provider.issuer));
        }
        providers.push(provider);
    }
    Ok(providers)
}

impl OidcFile {
    fn provider(self, environment: impl Fn(&str) -> Option<String>) -> Result<ProviderSettings, String> {
        let of = |key: &str, why: String| format!("{}: {key}: {why}", self.name);
        let issuer = Issuer::parse(&self.issuer).map_err(|error| of("issuer", error.to_string()))?;
        let client_secret = match (&self.client_secret_file, &self.client_secret_env) {
            (None, None) => None,
            (Some(path), None) => Some(line_of(path).map_err(|why| of("client-secret-file", why))?),
            (None, Some(name)) => {
                let held = environment(name).filter(|value| !value.is_empty()).map(Secret::new);
                Some(held.ok_or_else(|| of("client-secret-env", format!("the variable {name} is not set")))?)
            }
            (Some(_), Some(_)) => return Err(of("client-secret-file", "say it or client-secret-env, not both".into())),
        };
        let login_for = self.login_for.as_deref().map_or(Ok(USUAL_LOGIN), parse_span);
        let login_for = login_for.map_err(|error| of("login-for", error))?;
        if login_for > LONGEST_LOGIN {
            return Err(of("login-for", "90d is the longest".into()));
        }
        let newcomers = match self.newcomers {
            NewcomersFile::Refused => Newcomers::Refused,
            NewcomersFile::Guests => Newcomers::Guests,
            NewcomersFile::Members => Newcomers::Members,
        };
        let counted = |counts: CountsAs| match counts {
            CountsAs::Totp => Factor::Totp,
            CountsAs::Passkey => Factor::Passkey,
        };
        Ok(ProviderSettings {
            title: self.title.unwrap_or_else(|| self.name.to_string()),
            name: self.name,
            issuer,
            client_id: self.client_id,
            client_secret,
            scopes: self.scopes.unwrap_or_else(|| vec!["profile".to_owned(), "email".to_owned()]),
            groups_claim: self.groups_claim.unwrap_or_else(|| "groups".to_owned()),
            trust: self.ca_file.map_or(Trust::System, Trust::File),
            rules: ProviderRules {
                newcomers,
                groups: self.groups,
                roles: self.roles,
                counts_as: self.counts_as.into_iter().map(|(word, counts)| (word, counted(counts))).collect(),
                login_for,
            },
        })
    }
}

/// The one line of a file.
pub(super) fn line_of(path: &Path) -> Result<Secret<String>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let text = Secret::new(text);
    let line = text.expose().trim();
    if line.is_empty() || line.contains(['\r', '\n']) {
        return Err(format!("{} does not hold one line", path.display()));
    }
    Ok(Secret::new(line.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<ProviderSettings>, String> {
        let file: SignInFile = toml::from_str(text).map_err(|error| error.message().to_owned())?;
        providers(file.oidc, |name| (name == "SECRET").then(|| "hush".to_owned()))
    }

    const LEAST: &str = "[[oidc]]\nname = \"school\"\nissuer = \"https://id.test\"\nclient-id = \"doorward\"\n";

    #[test]
    fn a_provider_lets_nobody_new_in_and_counts_for_nothing_more_unless_said() {
        let least = &read(LEAST).unwrap()[0];
        assert_eq!((least.title.as_str(), least.client_secret.is_none()), ("school", true));
        assert_eq!((least.rules.newcomers, least.rules.login_for), (Newcomers::Refused, USUAL_LOGIN));
        assert!(least.rules.counts_as.is_empty() && least.rules.roles.is_empty() && least.rules.groups.is_empty());
        let most = format!(
            "{LEAST}title = \"The School\"\nclient-secret-env = \"SECRET\"\nscopes = [\"groups\"]\ngroups-claim = \"roles\"\n\
             newcomers = \"members\"\nlogin-for = \"8h\"\ngroups = {{ staff = \"teachers\" }}\n\
             roles = {{ admins = \"owner\" }}\ncounts-as = {{ mfa = \"totp\", hwk = \"passkey\" }}\n"
        );
        let most = &read(&most).unwrap()[0];
        assert_eq!(most.client_secret, Some(Secret::new("hush".to_owned())));
        assert_eq!(most.rules.login_for, SignedDuration::from_hours(8));
        assert_eq!(most.rules.counts_as.get("hwk"), Some(&Factor::Passkey));
        assert_eq!(most.rules.roles.get("admins"), Some(&Role::Owner));
        assert!(!format!("{most:?}").contains("hush"), "nothing secret is shown");
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_its_key() {
        for (more, why) in [
            ("client-secret-file = \"/none\"\n", "school: client-secret-file: /none cannot be read"),
            ("client-secret-env = \"NONE\"\n", "the variable NONE is not set"),
            ("client-secret-env = \"SECRET\"\nclient-secret-file = \"/x\"\n", "not both"),
            ("client-secret = \"x\"\n", "unknown field"),
            ("login-for = \"91d\"\n", "90d is the longest"),
            ("counts-as = { mfa = \"password\" }\n", "unknown variant"),
            ("newcomers = \"owners\"\n", "unknown variant"),
            (LEAST, "two are called"),
            (&LEAST.replace("school", "other"), "is there twice"),
        ] {
            let refused = read(&format!("{LEAST}{more}")).unwrap_err();
            assert!(refused.contains(why), "{more}: {refused}");
        }
        let clear = read(&LEAST.replace("https:", "http:")).unwrap_err();
        assert!(clear.contains("school: issuer: it begins with https://"), "{clear}");
    }
}
