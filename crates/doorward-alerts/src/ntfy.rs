//! ntfy (docs.ntfy.sh/publish): a plain POST to a topic's URL, shown on phones.

use crate::post::{AttemptError, post};
use crate::texts::Message;
use crate::{Trust, Url};
use data_encoding::BASE64;
use doorward_control::Alert;
use doorward_core::Secret;
use doorward_core::notice::NoticeKind;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ntfy {
    /// With the topic.
    pub url: Url,
    pub token: Option<Secret<String>>,
    pub trust: Trust,
}

impl Ntfy {
    pub(crate) async fn send(&self, alert: &Alert, message: &Message) -> Result<(), AttemptError> {
        let kind = alert.notice.kind();
        let mut headers = vec![
            ("content-type", b"text/plain; charset=utf-8".to_vec()),
            ("title", encoded(&message.title).into_bytes()),
            ("priority", priority(kind).into()),
            ("tags", tag(kind).into()),
        ];
        if let Some(link) = &message.link {
            headers.push(("click", link.clone().into_bytes()));
        }
        if let Some(token) = &self.token {
            headers.push(("authorization", format!("Bearer {}", token.expose()).into_bytes()));
        }
        post(&self.url, &self.trust, headers, message.text.clone().into_bytes()).await
    }
}

/// 3 is usual, 4 makes a noise, 5 goes on ringing.
fn priority(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::ApprovalWanted => "5",
        NoticeKind::DeviceOffline | NoticeKind::CertificateFailing | NoticeKind::NewLogin => "4",
        NoticeKind::Budget | NoticeKind::Test => "3",
        NoticeKind::DeviceOnline => "2",
    }
}

fn tag(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::ApprovalWanted => "door",
        NoticeKind::DeviceOffline => "red_circle",
        NoticeKind::DeviceOnline => "green_circle",
        NoticeKind::CertificateFailing => "warning",
        NoticeKind::NewLogin => "key",
        NoticeKind::Budget => "bar_chart",
        NoticeKind::Test => "wave",
    }
}

/// RFC 2047, which ntfy reads: other servers on the way may mangle anything but ASCII in a header. A word has 75
/// characters at most.
fn encoded(text: &str) -> String {
    const AT_ONCE: usize = 45;
    if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
        return text.to_owned();
    }
    let mut words: Vec<String> = vec![String::new()];
    for c in text.chars() {
        if words.last().is_some_and(|word| word.len() + c.len_utf8() > AT_ONCE) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.push(c);
        }
    }
    words.iter().map(|word| format!("=?UTF-8?B?{}?=", BASE64.encode(word.as_bytes()))).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_are_ascii_or_encoded_words() {
        assert_eq!(encoded("pi is offline"), "pi is offline");
        assert_eq!(encoded("für alle"), "=?UTF-8?B?ZsO8ciBhbGxl?=");
        assert!(encoded("a\nevil: header").starts_with("=?UTF-8?B?"), "no line ends in a header");
        let long = encoded(&"ü".repeat(100));
        assert!(long.split(' ').all(|word| word.len() <= 75) && long.split(' ').count() == 5, "{long}");
    }
}
