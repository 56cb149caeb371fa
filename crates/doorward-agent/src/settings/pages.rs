//! Pages of a service's own: files beside `agent.toml`, read after it.

use super::{Service, SettingsError};
use doorward_core::web::{MAX_PAGES, Page, PageError, Pages};
use serde::Deserialize;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Where they are; relative to the folder of `agent.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct PageFiles {
    offline: Option<PathBuf>,
    unreachable: Option<PathBuf>,
    password: Option<PathBuf>,
}

impl PageFiles {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn paths(&self, folder: &Path) -> impl Iterator<Item = PathBuf> {
        [&self.offline, &self.unreachable, &self.password].into_iter().flatten().map(|path| folder.join(path))
    }
}

impl Service {
    pub(super) fn read_pages(&mut self, folder: &Path) -> Result<(), SettingsError> {
        let read = |path: &Option<PathBuf>| path.as_ref().map(|path| page(&folder.join(path))).transpose();
        let PageFiles { offline, unreachable, password } = &self.page_files;
        let pages = Pages { offline: read(offline)?, unreachable: read(unreachable)?, password: read(password)? };
        if pages.bytes() > MAX_PAGES {
            let file = self.page_files.paths(folder).next().unwrap_or_default();
            return Err(SettingsError::Page { file, source: PageError::TooLong });
        }
        self.offer.web.pages = pages;
        Ok(())
    }
}

fn page(file: &Path) -> Result<Page, SettingsError> {
    let read = || -> io::Result<String> {
        let mut html = String::new();
        // One byte more tells that it is too much.
        File::open(file)?.take(MAX_PAGES as u64 + 1).read_to_string(&mut html)?;
        Ok(html)
    };
    let html = read().map_err(|source| SettingsError::Unreadable { file: file.to_owned(), source })?;
    Page::parse(html).map_err(|source| SettingsError::Page { file: file.to_owned(), source })
}
