//! The dyndns2 protocol: a GET with Basic, and a word for an answer. It was Dyn's, and most providers speak it.

use crate::address::Addresses;
use crate::answer::{Answer, of_dyndns2, of_status, stopped};
use crate::https::exchange;
use crate::settings::Dyndns2Settings;
use data_encoding::BASE64;
use doorward_core::names::HostName;
use http::{Method, Request, header};

pub(crate) async fn tell(settings: &Dyndns2Settings, name: &HostName, addresses: Addresses) -> Answer {
    let mut pairs = vec![("hostname", name.to_string())];
    pairs.extend(addresses.v4().map(|address| ("myip", address.to_string())));
    pairs.extend(addresses.v6().map(|address| ("myipv6", address.to_string())));
    let Ok(url) = settings.url.with_query(&pairs) else {
        return stopped("the URL cannot be written with this name");
    };
    let credentials = BASE64.encode(format!("{}:{}", settings.user, settings.password.expose()).as_bytes());
    let request = Request::builder().method(Method::GET).header(header::AUTHORIZATION, format!("Basic {credentials}"));
    match exchange(&url, &settings.trust, request, String::new()).await {
        // Some say their word with a status of its own.
        Ok((status, body)) => match of_dyndns2(&body) {
            Answer::Later { .. } | Answer::Taken => of_status(status).unwrap_or_else(|| of_dyndns2(&body)),
            refused @ Answer::Stopped { .. } => refused,
        },
        Err(answer) => answer,
    }
}
