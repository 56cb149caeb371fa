//! A policy while it is edited.

use super::form::Form;
use super::text::{self, Fault};
use crate::PortalState;
use crate::answer::Problem;
use crate::pages::fields::Fields;
use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use doorward_control::{CredentialError, ServiceRecord};
use doorward_core::Secret;
use doorward_core::access::PolicyDocument;
use http::StatusCode;

pub(in crate::pages) struct Draft {
    /// `None`: the text cannot be read, and has no fields.
    pub(in crate::pages) form: Option<Form>,
    pub(in crate::pages) text: String,
    pub(in crate::pages) fault: Option<Fault>,
    document: Option<PolicyDocument>,
}

impl Draft {
    pub(in crate::pages) fn of(document: &PolicyDocument) -> Self {
        let shown = document.without_hashes();
        Self { form: Some(Form::of(&shown)), text: text::write(&shown), fault: None, document: Some(shown) }
    }

    pub(in crate::pages) async fn sent(
        state: &PortalState,
        record: &ServiceRecord,
        fields: &Fields,
    ) -> Result<Self, Problem> {
        if fields.text("as") == "text" {
            return Ok(Self::typed(record, fields.text("text")));
        }
        let mut form = Form::sent(fields)?;
        if let Some(user) = new_password(state, fields).await? {
            form.users.retain(|(known, _)| *known != user.0);
            form.users.push(user);
        }
        let document = form.document();
        let checked = document.clone().with_kept_hashes(&record.access).to_policy_for(record.service.kind);
        let fault = checked.err().map(|error| Fault::of(&error));
        Ok(Self { form: Some(form), text: text::write(&document), fault, document: Some(document) })
    }

    fn typed(record: &ServiceRecord, typed: &str) -> Self {
        match text::read(typed, &record.access, record.service.kind) {
            Ok(document) => {
                Self { form: Some(Form::of(&document)), text: typed.to_owned(), fault: None, document: Some(document) }
            }
            Err(fault) => Self { form: None, text: typed.to_owned(), fault: Some(fault), document: None },
        }
    }

    /// What can be saved.
    pub(in crate::pages) fn good(&self) -> Option<PolicyDocument> {
        self.document.clone().filter(|_| self.fault.is_none())
    }
}

async fn new_password(state: &PortalState, fields: &Fields) -> Result<Option<(String, String)>, Problem> {
    let (user, password) = (fields.text("new-user"), fields.text("new-password"));
    if user.is_empty() && password.is_empty() {
        return Ok(None);
    }
    if user.is_empty() || password.is_empty() {
        return Err(Problem::invalid("a user name and a password belong together: fill in both, or neither"));
    }
    let hashed = state.control.hash_for_visitors(Secret::new(password.to_owned())).await;
    let busy = |_: CredentialError| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many people do this at once", "try again in a moment")
    };
    hashed.map(|phc| Some((user.to_owned(), phc))).map_err(busy)
}

/// By which a policy is known again, and of which nothing can be learnt.
pub(in crate::pages) fn mark(document: &PolicyDocument) -> String {
    let written = serde_json::to_vec(document).expect("a policy document can be written as JSON");
    HEXLOWER.encode(digest(&SHA256, &written).as_ref())
}
