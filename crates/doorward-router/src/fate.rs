//! What becomes of a new packet of ours in chains that others wrote, in whichever language.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Accepted,
    Dropped,
    /// The next rule decides.
    Open,
}

/// Whether a rule is about a new packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum About {
    No,
    /// It depends on interfaces.
    Maybe,
    Yes,
}

/// What a rule does with what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed<Chain> {
    Accept,
    Drop,
    Return,
    /// As another chain says.
    Lead(Chain),
    /// It counts, marks, logs.
    Pass,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rule<Chain> {
    pub(crate) about: About,
    pub(crate) deed: Deed<Chain>,
}

/// Deeper than people nest chains, and an end to loops that the kernel would refuse anyway.
const DEEPEST: usize = 16;

/// `rules`: those of a chain, in order.
pub(crate) fn fate<Chain>(chain: &Chain, rules: &dyn Fn(&Chain) -> Vec<Rule<Chain>>) -> Fate {
    walk(chain, rules, 0)
}

fn walk<Chain>(chain: &Chain, rules: &dyn Fn(&Chain) -> Vec<Rule<Chain>>, depth: usize) -> Fate {
    for Rule { about, deed } in rules(chain) {
        if about == About::No {
            continue;
        }
        let led_to = match deed {
            Deed::Accept => Fate::Accepted,
            Deed::Drop => Fate::Dropped,
            Deed::Return if about == About::Yes => return Fate::Open,
            Deed::Lead(next) if depth < DEEPEST => walk(&next, rules, depth + 1),
            Deed::Return | Deed::Lead(_) | Deed::Pass => Fate::Open,
        };
        match (led_to, about) {
            (Fate::Accepted, About::Yes) | (Fate::Dropped, _) => return led_to,
            (Fate::Accepted | Fate::Open, _) => {}
        }
    }
    Fate::Open
}

#[cfg(test)]
mod tests {
    use super::*;

    type Rules = Vec<(About, Deed<&'static str>)>;

    fn of(rules: fn(&str) -> Rules) -> Fate {
        let rule = |(about, deed)| Rule { about, deed };
        fate(&"forward", &|chain| rules(chain).into_iter().map(rule).collect())
    }

    #[test]
    fn what_may_drop_drops_and_only_what_surely_accepts_accepts() {
        assert_eq!(of(|_| vec![(About::Maybe, Deed::Accept), (About::Yes, Deed::Drop)]), Fate::Dropped);
        assert_eq!(of(|_| vec![(About::Yes, Deed::Accept), (About::Yes, Deed::Drop)]), Fate::Accepted);
        assert_eq!(of(|_| vec![(About::Maybe, Deed::Drop), (About::Yes, Deed::Accept)]), Fate::Dropped);
        assert_eq!(of(|_| vec![(About::No, Deed::Drop), (About::Yes, Deed::Pass)]), Fate::Open);
    }

    #[test]
    fn chains_are_followed_come_back_from_and_not_for_ever() {
        let back = |chain: &str| match chain {
            "forward" => vec![(About::Yes, Deed::Lead("inner")), (About::Yes, Deed::Accept)],
            _ => vec![(About::Yes, Deed::Return), (About::Yes, Deed::Drop)],
        };
        assert_eq!(of(back), Fate::Accepted);
        let dropped = |chain: &str| match chain {
            "forward" => vec![(About::Maybe, Deed::Lead("inner")), (About::Yes, Deed::Accept)],
            _ => vec![(About::Maybe, Deed::Return), (About::Yes, Deed::Drop)],
        };
        assert_eq!(of(dropped), Fate::Dropped);
        assert_eq!(of(|_| vec![(About::Yes, Deed::Lead("forward"))]), Fate::Open);
    }
}
