//! What a camera's source tells of it, whatever kind it is.

use doorward_frames::Picture;
use doorward_frames::faults::Faults;
use doorward_frames::feed::State;
use tokio::sync::mpsc;

/// What a source tells. It waits for nobody: the other end always takes.
#[derive(Clone)]
pub(super) struct Events(mpsc::Sender<Event>);

pub(super) enum Event {
    Picture(Picture),
    Trouble(Trouble),
    Faults(Faults),
}

/// Why nothing comes. The text is for viewers too: it names no address, path or file.
#[derive(Debug)]
pub(super) struct Trouble {
    pub(super) state: State,
    pub(super) text: String,
}

impl Trouble {
    /// It cannot be reached, or answers with something else.
    pub(super) fn failed(text: impl Into<String>) -> Self {
        Self { state: State::Failed, text: text.into() }
    }

    /// It was there, and says nothing any more.
    pub(super) fn stalled(text: impl Into<String>) -> Self {
        Self { state: State::Stalled, text: text.into() }
    }
}

impl Events {
    pub(super) fn new(sender: mpsc::Sender<Event>) -> Self {
        Self(sender)
    }

    pub(super) async fn picture(&self, picture: Picture) {
        self.tell(Event::Picture(picture)).await;
    }

    pub(super) async fn trouble(&self, trouble: Trouble) {
        self.tell(Event::Trouble(trouble)).await;
    }

    /// All since it is being read.
    pub(super) async fn faults(&self, faults: Faults) {
        self.tell(Event::Faults(faults)).await;
    }

    async fn tell(&self, event: Event) {
        // Nobody hears it: then this future is about to be dropped, too.
        let _ = self.0.send(event).await;
    }
}
