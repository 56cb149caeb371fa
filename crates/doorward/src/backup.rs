//! Backups: one file, consistent while the gateway runs.

use doorward_control::Control;
use doorward_portal::BackupHook;
use std::sync::Arc;

/// What the portal calls to write one.
pub fn hook(control: Control) -> BackupHook {
    Arc::new(move |request| {
        let control = control.clone();
        Box::pin(async move { control.backup_into(&request.path).await.map_err(|error| error.to_string()) })
    })
}
