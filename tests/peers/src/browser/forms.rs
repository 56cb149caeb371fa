//! What people do with a page: look until something is there, fill in a form, press its button.

use super::Browser;
use crate::SOON;
use anyhow::{Context, Result};
use doorward_world::until;
use std::time::Duration;

impl Browser {
    /// Waits until the page is there whole and the condition holds. While one page follows another there is none to ask.
    pub fn until_shown(&mut self, condition: &str) -> Result<()> {
        self.until_shown_within(SOON, condition)
    }

    pub fn until_shown_within(&mut self, limit: Duration, condition: &str) -> Result<()> {
        let condition = format!("document.readyState === 'complete' && ({condition})");
        until(limit, &condition, || Ok(self.evaluate(&condition).is_ok_and(|is| is == true)))
            .with_context(|| self.text().unwrap_or_default())?;
        Ok(())
    }

    /// Waits until the page says so.
    pub fn until_said(&mut self, words: &str) -> Result<()> {
        self.until_shown(&format!("document.body.innerText.includes({words:?})"))
    }

    /// Fills the form that `selector` finds, and presses its button. Returns before the next page is there.
    pub fn submit(&mut self, selector: &str, fields: &[(&str, &str)]) -> Result<()> {
        let form = format!("document.querySelector({selector:?})");
        for (name, value) in fields {
            self.evaluate(&format!("{form}.elements[{name:?}].value = {value:?}; true"))?;
        }
        self.evaluate(&format!("setTimeout(() => {form}.querySelector('button').click()); true"))?;
        Ok(())
    }

    /// The same for the form that is sent to this path.
    pub fn send_form(&mut self, to: &str, fields: &[(&str, &str)]) -> Result<()> {
        self.submit(&format!("form[action='{to}']"), fields)
    }
}
