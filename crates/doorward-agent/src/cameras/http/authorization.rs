//! A camera's own password: Basic (RFC 7617) and Digest (RFC 7616, and RFC 2069 for those that are older).

use aws_lc_rs::digest::SHA256;
use data_encoding::{BASE64, HEXLOWER};
use doorward_core::Secret;
use http::Method;
use md5::Md5;
use std::collections::HashMap;

pub(super) struct Credentials {
    user: String,
    password: Secret<String>,
}

impl Credentials {
    pub(super) fn parse(line: &str) -> Option<Self> {
        let (user, password) = line.split_once(':')?;
        let is_sendable = !user.is_empty() && !line.chars().any(|c| c.is_control()) && !user.contains('"');
        is_sendable.then(|| Self { user: user.to_owned(), password: Secret::new(password.to_owned()) })
    }
}

/// What is said with each request, once the camera has asked for it.
#[derive(Default)]
pub(super) struct Authorization(Option<(Credentials, Way)>);

enum Way {
    Basic,
    Digest(Digest),
}

struct Digest {
    hash: Hash,
    realm: String,
    nonce: String,
    opaque: Option<String>,
    /// As the camera wrote it, which some compare.
    algorithm: Option<String>,
    has_qop: bool,
    used: u32,
}

#[derive(Clone, Copy)]
enum Hash {
    Md5,
    Sha256,
}

impl Hash {
    fn of(self, text: &str) -> String {
        match self {
            Self::Md5 => HEXLOWER.encode(&<Md5 as md5::Digest>::digest(text)),
            Self::Sha256 => HEXLOWER.encode(aws_lc_rs::digest::digest(&SHA256, text.as_bytes()).as_ref()),
        }
    }
}

impl Authorization {
    /// From the values of `WWW-Authenticate`. `false`: none of them is known here.
    pub(super) fn learn<'a>(&mut self, challenges: impl Iterator<Item = &'a str>, credentials: Credentials) -> bool {
        let mut known: Vec<_> = challenges.flat_map(split).collect();
        // The strongest first.
        known.sort_by_key(|(scheme, of)| {
            match (scheme.as_str(), of.get("algorithm").map(|a| a.to_ascii_lowercase())) {
                ("digest", Some(algorithm)) if algorithm == "sha-256" => 0,
                ("digest", _) => 1,
                _ => 2,
            }
        });
        let way = known.into_iter().find_map(|(scheme, of)| match scheme.as_str() {
            "digest" => Digest::read(of).map(Way::Digest),
            "basic" => Some(Way::Basic),
            _ => None,
        });
        self.0 = way.map(|way| (credentials, way));
        self.0.is_some()
    }

    pub(super) fn header(&mut self, method: &Method, path: &str) -> Option<String> {
        let (credentials, way) = self.0.as_mut()?;
        Some(match way {
            Way::Basic => {
                let both = format!("{}:{}", credentials.user, credentials.password.expose());
                format!("Basic {}", BASE64.encode(both.as_bytes()))
            }
            Way::Digest(digest) => {
                let random: [u8; 8] = rand::random();
                digest.answer(credentials, (method, path), &HEXLOWER.encode(&random))
            }
        })
    }
}

impl Digest {
    /// `None`: it wants what is not known here.
    fn read(mut of: HashMap<String, String>) -> Option<Self> {
        let algorithm = of.remove("algorithm");
        let hash = match algorithm.as_deref().map(str::to_ascii_lowercase).as_deref() {
            None | Some("md5") => Hash::Md5,
            Some("sha-256") => Hash::Sha256,
            Some(_) => return None,
        };
        let has_qop = match of.remove("qop") {
            None => false,
            Some(qop) if qop.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
        };
        let (realm, nonce, opaque) = (of.remove("realm")?, of.remove("nonce")?, of.remove("opaque"));
        Some(Self { hash, realm, nonce, opaque, algorithm, has_qop, used: 0 })
    }

    /// RFC 7616, 3.4.1.
    fn answer(&mut self, credentials: &Credentials, (method, path): (&Method, &str), cnonce: &str) -> String {
        self.used += 1;
        let Self { hash, realm, nonce, used, .. } = &*self;
        let Credentials { user, password } = credentials;
        let own = hash.of(&format!("{user}:{realm}:{}", password.expose()));
        let asked = hash.of(&format!("{method}:{path}"));
        let response = match self.has_qop {
            true => hash.of(&format!("{own}:{nonce}:{used:08x}:{cnonce}:auth:{asked}")),
            false => hash.of(&format!("{own}:{nonce}:{asked}")),
        };
        let (user, realm, nonce, path) = (quoted(user), quoted(realm), quoted(nonce), quoted(path));
        let mut answer =
            format!("Digest username={user}, realm={realm}, nonce={nonce}, uri={path}, response=\"{response}\"");
        if let Some(algorithm) = &self.algorithm {
            answer += &format!(", algorithm={algorithm}");
        }
        if let Some(opaque) = &self.opaque {
            answer += &format!(", opaque={}", quoted(opaque));
        }
        if self.has_qop {
            answer += &format!(", qop=auth, nc={used:08x}, cnonce=\"{cnonce}\"");
        }
        answer
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// The challenges of one header (RFC 9110, 11.6.1), their schemes and names in small letters.
fn split(header: &str) -> Vec<(String, HashMap<String, String>)> {
    let mut challenges: Vec<(String, HashMap<String, String>)> = Vec::new();
    let mut rest = header;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let end = rest.find([' ', '\t', ',', '=']).unwrap_or(rest.len());
        let word = rest[..end].to_ascii_lowercase();
        if word.is_empty() {
            return challenges;
        }
        rest = rest[end..].trim_start_matches([' ', '\t']);
        let Some(after) = rest.strip_prefix('=') else {
            challenges.push((word, HashMap::new()));
            continue;
        };
        let (value, after) = value(after.trim_start_matches([' ', '\t']));
        rest = after;
        if let Some((_, of)) = challenges.last_mut() {
            of.insert(word, value);
        }
    }
}

/// A token or a quoted string, and what follows it.
fn value(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([',', ' ', '\t']).unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let (mut value, mut is_escaped) = (String::new(), false);
    for (at, character) in quoted.char_indices() {
        match character {
            '"' if !is_escaped => return (value, &quoted[at + 1..]),
            '\\' if !is_escaped => is_escaped = true,
            _ => {
                value.push(character);
                is_escaped = false;
            }
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mufasa(password: &str) -> Credentials {
        Credentials::parse(&format!("Mufasa:{password}")).unwrap()
    }

    fn digest(header: &str) -> Digest {
        let mut authorization = Authorization::default();
        // A header has no line feeds, and these have none that matters.
        let header = header.replace('\n', " ");
        assert!(authorization.learn(std::iter::once(header.as_str()), mufasa("x")), "{header}");
        match authorization.0 {
            Some((_, Way::Digest(digest))) => digest,
            Some((_, Way::Basic)) | None => panic!("{header}"),
        }
    }

    #[test]
    fn digests_are_those_of_the_rfcs() {
        // RFC 2617, 3.5, and RFC 7616, 3.9.1.
        let old = r#"Digest realm="testrealm@host.com", qop="auth,auth-int", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
            opaque="5ccc069c403ebaf9f0171e9517f40e41""#;
        let new = |algorithm: &str| {
            format!(
                r#"Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm={algorithm},
                nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS""#
            )
        };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let table = [
            (old.to_owned(), "Circle Of Life", "0a4f113b", "6629fae49393a05397450978507c4ef1"),
            (new("MD5"), "Circle of Life", cnonce, "8ca523f5e9506fed4657c9700eebdbec"),
            (
                new("SHA-256"),
                "Circle of Life",
                cnonce,
                "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
            ),
        ];
        for (header, password, cnonce, expected) in table {
            let answer = digest(&header).answer(&mufasa(password), (&Method::GET, "/dir/index.html"), cnonce);
            assert!(answer.contains(&format!("response=\"{expected}\"")), "{answer}");
            assert!(answer.contains("nc=00000001") && answer.contains("uri=\"/dir/index.html\""), "{answer}");
        }
    }

    #[test]
    fn each_request_counts_and_an_old_camera_gets_no_count() {
        let answer = |digest: &mut Digest| digest.answer(&mufasa("c"), (&Method::GET, "/"), "d");
        let mut counted = digest(r#"Digest realm="a", nonce="b", qop=auth"#);
        answer(&mut counted);
        assert!(answer(&mut counted).contains("nc=00000002"));
        let mut old = digest(r#"Digest realm="a \" b", nonce="b""#);
        let answer = answer(&mut old);
        assert!(!answer.contains("nc=") && answer.contains(r#"realm="a \" b""#), "{answer}");
    }

    #[test]
    fn the_strongest_way_that_is_known_is_taken() {
        let learn = |headers: &[&str]| {
            let mut authorization = Authorization::default();
            let known = authorization.learn(headers.iter().copied(), mufasa("x"));
            known.then(|| authorization.header(&Method::GET, "/").unwrap())
        };
        let (md5, sha) = (r#"Digest realm="a", nonce="b""#, r#"Digest realm="a", nonce="b", algorithm=SHA-256"#);
        assert_eq!(learn(&["Basic realm=\"a, b\""]).unwrap(), "Basic TXVmYXNhOng=");
        assert!(learn(&[md5, "Basic realm=\"a\"", sha]).unwrap().contains("SHA-256"));
        assert!(learn(&[&format!("Basic realm=\"a \\\" b\", {md5}")]).unwrap().starts_with("Digest"));
        for unknown in ["Negotiate", r#"Digest realm="a", nonce="b", algorithm=MD5-sess"#, "Digest realm=a", "", "=,="]
        {
            assert_eq!(learn(&[unknown]), None, "{unknown}");
        }
    }

    #[test]
    fn a_password_may_have_colons_and_a_user_no_quotes() {
        let read = |line| Credentials::parse(line).map(|c| (c.user, c.password.expose().clone()));
        assert_eq!(read("admin:a:b"), Some(("admin".to_owned(), "a:b".to_owned())));
        for bad in ["admin", ":x", "a\"b:x", "a:\u{1}"] {
            assert!(read(bad).is_none(), "{bad:?}");
        }
    }
}
