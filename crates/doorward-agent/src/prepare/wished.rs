//! What gateways wish, as they said it last.

use crate::settings::Settings;
use doorward_core::names::Label;
use doorward_core::service::MAX_SERVICES;
use doorward_tunnel::messages::Wishes;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

#[derive(Clone, Debug, Default)]
pub(super) struct Wished(BTreeMap<Label, BTreeMap<Label, Instant>>);

/// No wish counts longer without being said again; a session's own end is sooner as a rule.
const LONGEST: Duration = Duration::from_secs(400 * 24 * 3600);

impl Wished {
    pub(super) fn hear(&mut self, gateway: &Label, wishes: &Wishes, now: Instant) {
        let until = |remaining| now + Duration::from_millis(remaining).min(LONGEST);
        let read = wishes.services.iter().take(MAX_SERVICES);
        let read = read.filter_map(|wish| Some((Label::parse(&wish.service).ok()?, until(wish.remaining_ms))));
        self.0.insert(gateway.clone(), read.collect());
    }

    pub(super) fn forget(&mut self, gateway: &Label) {
        self.0.remove(gateway);
    }

    /// Until when the service is wanted, by whichever gateway that may see it wants it longest.
    pub(super) fn until(&self, service: &Label, settings: &Settings, now: Instant) -> Option<Instant> {
        let ends = self.seeing(service, settings).filter_map(|wishes| wishes.get(service).copied());
        ends.filter(|end| *end > now).max()
    }

    /// Whether anybody who could want it has said anything since this process began. Until then nobody knows.
    pub(super) fn is_heard(&self, service: &Label, settings: &Settings) -> bool {
        self.seeing(service, settings).next().is_some()
    }

    fn seeing<'a>(
        &'a self,
        service: &'a Label,
        settings: &'a Settings,
    ) -> impl Iterator<Item = &'a BTreeMap<Label, Instant>> {
        let may_see = |gateway: &Label| settings.services_for(gateway).any(|seen| seen.offer.name == *service);
        self.0.iter().filter(move |(gateway, _)| may_see(gateway)).map(|(_, wishes)| wishes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use doorward_tunnel::messages::Wish;
    use std::path::Path;

    fn label(name: &str) -> Label {
        Label::parse(name).unwrap()
    }

    fn wishes(services: &[(&str, u64)]) -> Wishes {
        let services = services
            .iter()
            .map(|(service, remaining_ms)| Wish { service: (*service).to_owned(), remaining_ms: *remaining_ms });
        Wishes { services: services.collect() }
    }

    #[test]
    fn a_wish_counts_until_its_end_and_from_gateways_that_may_see_the_service() {
        let text = "[[gateway]]\nname = \"a\"\n[[gateway]]\nname = \"b\"\nservices = [\"two\"]\n\
                    [[service]]\nname = \"one\"\ntarget = \"http://x\"\n[[service]]\nname = \"two\"\ntarget = \"http://x\"\n";
        let settings = Settings::parse(text, Path::new("agent.toml")).unwrap();
        let (mut wished, now) = (Wished::default(), Instant::now());
        let (one, two) = (label("one"), label("two"));
        let mut hear = |gateway: &str, said: &[(&str, u64)]| {
            wished.hear(&label(gateway), &wishes(said), now);
            wished.clone()
        };
        let at = |ms| now + Duration::from_millis(ms);
        let first = hear("b", &[("one", 9000), ("two", 2000), ("No label!", 1)]);
        assert_eq!(first.until(&one, &settings, now), None, "b may not see it");
        assert!(!first.is_heard(&one, &settings) && first.is_heard(&two, &settings));
        assert_eq!(first.until(&two, &settings, now), Some(at(2000)));
        assert_eq!(first.until(&two, &settings, at(2000)), None, "at its end nobody needs to say so");
        let second = hear("a", &[("one", 5000), ("two", 3000)]);
        assert_eq!(second.until(&two, &settings, now), Some(at(3000)), "whoever wants it longest");
        let third = hear("a", &[]);
        assert_eq!((third.until(&one, &settings, now), third.is_heard(&one, &settings)), (None, true));
        assert_eq!(third.until(&two, &settings, now), Some(at(2000)));
        assert!(hear("a", &[("one", u64::MAX)]).until(&one, &settings, now).is_some(), "a huge number is no fault");
    }
}
