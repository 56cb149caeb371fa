//! A request that the owner wrote down.

use crate::address::Addresses;
use crate::answer::{Answer, of_status, stopped};
use crate::https::{Url, exchange};
use crate::settings::{Method, TemplateSettings};
use doorward_core::names::HostName;
use http::Request;

pub(crate) async fn tell(settings: &TemplateSettings, name: &HostName, addresses: Addresses) -> Answer {
    let values = Values { name: name.to_string(), addresses, secret: settings.secret.expose() };
    let Ok(url) = Url::parse(&values.put_into(&settings.url, encoded)) else {
        return stopped("the URL cannot be used with these values");
    };
    let as_it_is = |text: &str| text.to_owned();
    let mut request = Request::builder().method(method(settings.method));
    for (header, value) in &settings.headers {
        request = request.header(header, values.put_into(value, as_it_is));
    }
    let body = values.put_into(&settings.body, as_it_is);
    match exchange(&url, &settings.trust, request, body).await {
        Ok((status, body)) => of_status(status).unwrap_or_else(|| judge(settings, &body)),
        Err(answer) => answer,
    }
}

fn judge(settings: &TemplateSettings, body: &str) -> Answer {
    match &settings.answer_contains {
        Some(wanted) if !body.contains(wanted.as_str()) => stopped(format!("its answer does not contain {wanted:?}")),
        Some(_) | None => Answer::Taken,
    }
}

fn method(method: Method) -> http::Method {
    match method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
        Method::Put => http::Method::PUT,
        Method::Patch => http::Method::PATCH,
    }
}

struct Values<'a> {
    name: String,
    addresses: Addresses,
    secret: &'a str,
}

impl Values<'_> {
    /// In one pass: what was put in is not looked at again.
    fn put_into(&self, template: &str, written: impl Fn(&str) -> String) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let value = after.split_once('}').and_then(|(place, behind)| Some((self.value(place)?, behind)));
            rest = match value {
                Some((value, behind)) => {
                    text.push_str(&written(&value));
                    behind
                }
                None => {
                    text.push('{');
                    after
                }
            };
        }
        text + rest
    }

    fn value(&self, place: &str) -> Option<String> {
        match place {
            "name" => Some(self.name.clone()),
            "ipv4" => Some(self.addresses.v4().map(|address| address.to_string()).unwrap_or_default()),
            "ipv6" => Some(self.addresses.v6().map(|address| address.to_string()).unwrap_or_default()),
            "secret" => Some(self.secret.to_owned()),
            _ => None,
        }
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_put_in_once_and_encoded_in_urls() {
        let addresses = Addresses::public(Some([198, 51, 100, 7].into()), Some("2001:db8::1".parse().unwrap()));
        let values = Values { name: "home.example.org".to_owned(), addresses, secret: "a&b={name}" };
        for (template, expected) in [
            ("/?h={name}&ip={ipv4}&6={ipv6}", "/?h=home.example.org&ip=198.51.100.7&6=2001%3Adb8%3A%3A1"),
            ("/{secret}", "/a%26b%3D%7Bname%7D"),
            ("/{other}{", "/{other}{"),
        ] {
            assert_eq!(values.put_into(template, encoded), expected);
        }
        let body = r#"{"type":"A","content":"{ipv4}","x":{"y":{}}}"#;
        let expected = r#"{"type":"A","content":"198.51.100.7","x":{"y":{}}}"#;
        assert_eq!(values.put_into(body, str::to_owned), expected);
    }
}
