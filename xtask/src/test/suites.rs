/// A group of tests that is run, and reported, by itself.
pub(crate) struct Suite {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    pub(crate) tests: Tests,
    /// How many tests may run at once, where the machine's cores are not the answer.
    pub(crate) threads: Option<u8>,
    /// Test programs that wait for minutes and do next to nothing: they run beside the others.
    pub(crate) patient: &'static [&'static str],
    /// Whether a test that failed is run once more by itself.
    pub(crate) is_heard_twice: bool,
}

pub(crate) enum Tests {
    /// Every package no other suite names, and the examples in the documentation.
    Rest,
    Package(&'static str),
}

pub(crate) const SUITES: &[Suite] = &[
    Suite {
        name: "unit",
        about: "each crate by itself",
        tests: Tests::Rest,
        threads: None,
        patient: &[],
        is_heard_twice: false,
    },
    Suite {
        name: "lab",
        about: "all in one process",
        tests: Tests::Package("doorward-lab"),
        threads: None,
        patient: &["doorward-lab (odd)", "doorward-lab (renewal)"],
        is_heard_twice: true,
    },
    Suite {
        name: "world",
        about: "network namespaces: internet, NAT, CGNAT",
        tests: Tests::Package("doorward-world"),
        // Each starts a handful of processes and measures how soon they react.
        threads: Some(3),
        patient: &["doorward-world (idle)"],
        is_heard_twice: true,
    },
    Suite {
        name: "peers",
        about: "real software",
        tests: Tests::Package("doorward-peers"),
        threads: None,
        patient: &[],
        is_heard_twice: true,
    },
    Suite {
        name: "replay",
        about: "every input of the fuzz corpora, once",
        tests: Tests::Package("doorward-replay"),
        threads: None,
        patient: &[],
        is_heard_twice: false,
    },
];

impl Suite {
    /// The one package its tests lie in.
    pub(crate) fn package(&self) -> Option<&'static str> {
        match self.tests {
            Tests::Rest => None,
            Tests::Package(name) => Some(name),
        }
    }

    /// Whether the tests of this package belong to it.
    pub(crate) fn has(&self, package: &str) -> bool {
        match self.tests {
            Tests::Package(name) => name == package,
            Tests::Rest => !SUITES.iter().any(|suite| suite.package() == Some(package)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_package_belongs_to_exactly_one_suite() {
        for package in ["doorward-core", "xtask", "doorward-lab", "doorward-world", "doorward-replay"] {
            assert_eq!(SUITES.iter().filter(|suite| suite.has(package)).count(), 1, "{package}");
        }
    }
}
