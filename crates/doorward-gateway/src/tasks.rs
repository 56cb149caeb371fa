//! The tasks of a gateway: one per connection or visit. They have one owner, which can wait for them and end them.

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

#[derive(Clone, Default)]
pub(crate) struct Tasks {
    running: TaskTracker,
    stop: CancellationToken,
}

impl Tasks {
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.stop.clone();
        // Each layer around a future that is moved holds it twice; there are thousands.
        let task = Box::pin(task);
        self.running.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    pub(crate) async fn ended(&self) {
        self.running.close();
        self.running.wait().await;
    }
}
