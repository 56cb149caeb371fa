//! How one request and its answer pass between the visitor's view of a service and the target's own: which host each
//! of them names, and which part of the path stands on one side only.

use super::headers::{Told, tell, untell};
use super::origin::PublicOrigin;
use super::{repair, rewrite};
use doorward_core::names::PathPrefix;
use doorward_core::service::WebRoute;
use doorward_core::web::{HeaderMode, TargetOrigin, WebOffer, WebProtocol};
use http::header::HOST;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Uri};
use std::net::IpAddr;

#[derive(Debug)]
pub(crate) struct Passage {
    mode: HeaderMode,
    /// Whether the target is told about the visitor and the path.
    is_told: bool,
    public: PublicOrigin,
    target: TargetOrigin,
    paths: Paths,
    /// What the target is spoken to in.
    pub(crate) protocol: WebProtocol,
    /// The mount that the path leads to, rather than the service itself.
    pub(crate) mount: Option<PathPrefix>,
}

/// What stands before the rest of a path on either side, without its last slash: empty or `/zumi01`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Paths {
    pub(crate) visitor: String,
    pub(crate) target: String,
}

impl Passage {
    /// `host`: as the visitor sent it, port and all.
    pub(crate) fn find(offer: &WebOffer, route: &WebRoute, host: HeaderValue, is_https: bool, path: &str) -> Self {
        let own = match &route.prefix {
            Some(prefix) => format!("/{}", prefix.remainder(path).unwrap_or_default()),
            None => path.to_owned(),
        };
        let entrance = route.prefix.as_ref().map(bare).unwrap_or_default();
        let mount = offer.mount(&own);
        let (target, protocol, base, taken_off) = match mount {
            Some(mount) => (&mount.origin, mount.protocol, &mount.base, format!("{entrance}{}", bare(&mount.path))),
            None if route.strip => (&offer.origin, offer.protocol, &offer.base, entrance.to_owned()),
            None => (&offer.origin, offer.protocol, &offer.base, String::new()),
        };
        Self {
            mode: offer.headers,
            is_told: match offer.headers {
                HeaderMode::Preserve => true,
                HeaderMode::Rewrite => offer.forwarded,
            },
            public: PublicOrigin { is_https, host },
            target: target.clone(),
            paths: Paths { visitor: taken_off, target: base.as_ref().map(bare).unwrap_or_default().to_owned() },
            protocol,
            mount: mount.map(|mount| mount.path.clone()),
        }
    }

    /// Whether the target's own check of origins still sees what the visitor sent; if not, it is ours to make.
    pub(crate) fn blinds_target(&self) -> bool {
        self.mode == HeaderMode::Rewrite
    }

    pub(crate) fn public(&self) -> &PublicOrigin {
        &self.public
    }

    /// The path and query for the target, in origin form.
    pub(crate) fn target_of(&self, uri: &Uri) -> Result<Uri, &'static str> {
        let path = self.paths.to_target(uri.path()).unwrap_or_else(|| uri.path().to_owned());
        let target = match uri.query() {
            Some(query) => format!("{path}?{query}"),
            None => path,
        };
        target.parse::<PathAndQuery>().map(Uri::from).map_err(|_| "its path cannot be passed on")
    }

    /// Gives a request's headers the target's view. What belongs to one connection is gone already.
    pub(crate) fn prepare(&self, headers: &mut HeaderMap, source: IpAddr) {
        if self.is_told {
            let taken_off = Some(self.paths.visitor.as_str()).filter(|path| !path.is_empty());
            let PublicOrigin { is_https, host } = &self.public;
            tell(headers, &Told { source, is_https: *is_https, host, port: self.public.port(), taken_off });
        } else {
            untell(headers);
        }
        match self.mode {
            HeaderMode::Preserve => {
                headers.insert(HOST, self.public.host.clone());
            }
            HeaderMode::Rewrite => rewrite::request(headers, &self.public, &self.target, &self.paths),
        }
    }

    /// Gives an answer's headers the visitor's view.
    pub(crate) fn repair(&self, headers: &mut HeaderMap) {
        let view = repair::View {
            public: &self.public,
            target: &self.target,
            paths: &self.paths,
            // Who was told may have added the path already; who was not cannot have.
            knows_path: self.is_told,
        };
        repair::answer(headers, &view);
        if self.blinds_target() {
            repair::rewritten(headers, &view);
        }
    }
}

fn bare(prefix: &PathPrefix) -> &str {
    prefix.as_str().trim_end_matches('/')
}

impl Paths {
    pub(crate) fn to_target(&self, path: &str) -> Option<String> {
        exchange(path, &self.visitor, &self.target)
    }

    pub(crate) fn to_visitor(&self, path: &str, knows_path: bool) -> Option<String> {
        if self.visitor == self.target || (knows_path && !self.visitor.is_empty() && is_under(path, &self.visitor)) {
            return None;
        }
        exchange(path, &self.target, &self.visitor)
    }
}

/// `None`: the path is not under `from`.
fn exchange(path: &str, from: &str, to: &str) -> Option<String> {
    let rest = path.strip_prefix(from)?;
    match rest.as_bytes().first() {
        Some(b'/') => Some(format!("{to}{rest}")),
        None => Some(format!("{to}/")),
        // The first of a query or fragment stands where a path would have ended.
        Some(b'?' | b'#') => Some(format!("{to}/{rest}")),
        Some(_) => None,
    }
}

fn is_under(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', '?', '#']))
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_core::ServiceId;

    fn passage(offer: &str, prefix: Option<(&str, bool)>, path: &str) -> Passage {
        let offer: WebOffer = serde_json::from_str(offer).unwrap();
        let route = WebRoute {
            service: ServiceId(1),
            prefix: prefix.map(|(prefix, _)| PathPrefix::parse(prefix).unwrap()),
            strip: prefix.is_some_and(|(_, strip)| strip),
        };
        Passage::find(&offer, &route, HeaderValue::from_static("gw.test"), true, path)
    }

    #[test]
    fn a_path_finds_its_target_from_every_entrance() {
        const MOUNTED: &str = r#"{"base":"/app/","mounts":[{"path":"/cam/","base":"/mjpeg/"},{"path":"/cam/raw/"}]}"#;
        let (whole, kept, stripped) = (None, Some(("/zumi01/", false)), Some(("/zumi01/", true)));
        let table = [
            ("{}", whole, "/a/b?c", "/a/b?c", None),
            ("{}", kept, "/zumi01/a", "/zumi01/a", None),
            ("{}", stripped, "/zumi01/a//b", "/a//b", None),
            ("{}", stripped, "/zumi01?x", "/?x", None),
            (MOUNTED, whole, "/a", "/app/a", None),
            (MOUNTED, kept, "/zumi01/a", "/app/zumi01/a", None),
            (MOUNTED, stripped, "/zumi01/a", "/app/a", None),
            (MOUNTED, whole, "/cam/?action=stream", "/mjpeg/?action=stream", Some("/cam/")),
            (MOUNTED, whole, "/cam", "/mjpeg/", Some("/cam/")),
            (MOUNTED, whole, "/cam/raw/1", "/1", Some("/cam/raw/")),
            (MOUNTED, whole, "/camera", "/app/camera", None),
            (MOUNTED, kept, "/zumi01/cam/x", "/mjpeg/x", Some("/cam/")),
            (MOUNTED, stripped, "/zumi01/cam/x", "/mjpeg/x", Some("/cam/")),
        ];
        for (offer, prefix, asked, got, mount) in table {
            let uri: Uri = asked.parse().unwrap();
            let passage = passage(offer, prefix, uri.path());
            assert_eq!(passage.target_of(&uri).unwrap().to_string(), got, "{offer} {prefix:?} {asked}");
            assert_eq!(passage.mount.as_ref().map(PathPrefix::as_str), mount, "{asked}");
        }
    }
}
