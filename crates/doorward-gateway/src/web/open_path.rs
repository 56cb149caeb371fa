//! Paths at which the application asks who comes (`core::access::OpenPaths`): which a request is under, and what else could name
//! another path to the target.

use doorward_core::access::Proof;
use doorward_core::access::Visitor;
use doorward_core::names::PathPrefix;
use doorward_core::service::{Service, WebRoute};
use http::HeaderMap;
use http::header::AUTHORIZATION;

/// By these, applications let a proxy in front say another path or method than the request has. A visitor who was asked nothing
/// because of the path has no say in that. Underscores are hyphens to some (RFC 3875, 4.1.18).
const OTHER_PATHS: &[&str] = &[
    "x-original-url",
    "x-original-uri",
    "x-rewrite-url",
    "x-rewrite-uri",
    "x-forwarded-uri",
    "x-forwarded-path",
    "x-forwarded-url",
    "x-forwarded-request-uri",
    "x-envoy-original-path",
    "x-http-destinationurl",
    "x-proxy-url",
    "destination",
];

/// The entry of the policy that the path is under, as the target gets it but for what stands before the service itself.
pub(super) fn of(service: &Service, route: &WebRoute, path: &str) -> Option<PathPrefix> {
    let own = match &route.prefix {
        Some(prefix) => format!("/{}", prefix.remainder(path)?),
        None => path.to_owned(),
    };
    service.policy.open_paths.find(&own).cloned()
}

/// Whether somebody came in by nothing but where they go.
pub(super) fn is_by_path(visitor: &Visitor) -> bool {
    visitor.proofs.iter().any(|proof| match proof {
        Proof::OpenPath(_) => true,
        Proof::Password(_)
        | Proof::Person(_)
        | Proof::Login(_)
        | Proof::Session(_)
        | Proof::Port(_)
        | Proof::Sender(_)
        | Proof::Share(_) => false,
    })
}

pub(super) fn take_out_other_paths(headers: &mut HeaderMap) {
    let is_one = |name: &str| OTHER_PATHS.contains(&name.replace('_', "-").as_str());
    let found: Vec<_> = headers.keys().filter(|name| is_one(name.as_str())).cloned().collect();
    for name in found {
        headers.remove(name);
    }
}

/// Where a password lets people in, browsers send it to every path of the host: it is for us.
pub(super) fn take_out_basic(headers: &mut HeaderMap) {
    let is_basic = |value: &http::HeaderValue| {
        value.as_bytes().get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"basic"))
    };
    if headers.get_all(AUTHORIZATION).iter().any(is_basic) {
        headers.remove(AUTHORIZATION);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::ServiceId;
    use http::{HeaderName, HeaderValue};

    #[test]
    fn a_path_counts_from_the_root_of_the_service_by_every_entrance() {
        let service = crate::passwords::service_with(r#"{"who":"people","people":["anna"],"open-paths":["/api/"]}"#);
        let at = |prefix: Option<&str>, strip, path| {
            let prefix = prefix.map(|prefix| PathPrefix::parse(prefix).unwrap());
            of(&service, &WebRoute { service: ServiceId(1), prefix, strip }, path).is_some()
        };
        assert!(at(None, false, "/api/x"));
        assert!(at(Some("/printer/"), true, "/printer/api/x"));
        assert!(at(Some("/printer/"), false, "/printer/api/x"));
        for path in
            ["/api/x", "/printer/x/api/", "/printer//api/x", "/printer/../api/x", "/printer/api/../x", "/printer"]
        {
            assert!(!at(Some("/printer/"), true, path), "{path}");
        }
    }

    #[test]
    fn whoever_was_asked_nothing_cannot_name_another_path_in_a_header() {
        let names = ["x-original-url", "x_original_url", "X-Rewrite-URL", "x-forwarded-uri", "x-api-key", "accept"];
        let value = HeaderValue::from_static("/admin");
        let mut headers: HeaderMap =
            names.iter().map(|name| (HeaderName::try_from(*name).unwrap(), value.clone())).collect();
        take_out_other_paths(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["accept", "x-api-key"]);
    }

    #[test]
    fn the_applications_own_bearer_passes_where_a_password_is_asked_elsewhere() {
        for (value, stays) in [("Bearer theirs", true), ("Basic Z3Vlc3Q6cHc=", false), ("basic x", false), ("x", true)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, HeaderValue::from_static(value));
            take_out_basic(&mut headers);
            assert_eq!(headers.contains_key(AUTHORIZATION), stays, "{value}");
        }
    }
}
