//! A page that looks at many cameras, by one WebSocket on the portal's host.
//!
//! Text messages are the page's and ours. It names cameras by numbers of its own, `{"cameras":[{"number":1,"service":"pi/cam",
//! "mount":"/webcam/"}]}`, and hears who else looks, `{"number":1,"viewers":2,"faults":"padding 2"}`. Binary ones are
//! `doorward_frames::feed`: the page says `Watch`, `Leave`, and `Shown` after it drew.
//!
//! Each camera is a visit of its own: admitted when it is watched, and cut by itself. Only so many frames are on their way as
//! the page's line takes; of all cameras whose turn it is each comes in turn, with its newest frame.

mod naming;
mod watched;

use super::entrance::Unseen;
use super::{Crowded, FeedPlace, Key};
use crate::web::breaking::VisitorSide;
use crate::web::connection::VisitorConnection;
use crate::web::forward::Web;
use crate::web::upgrade::UpgradedVisitor;
use crate::web::websocket::answer_as_http2;
use crate::web::{Body, empty, page};
use bytes::Bytes;
use doorward_core::access::Facts;
use doorward_core::login::Login;
use doorward_frames::feed::{self, Decoder, Message as Said, State};
use doorward_frames::flight::Flight;
use doorward_frames::pace::Caps;
use doorward_frames::slot::Seen;
use doorward_tunnel::answer_link_upgrade;
use futures_util::{SinkExt, StreamExt};
use http::{Request, Response, StatusCode, Version};
use hyper::body::Incoming;
use jiff::Timestamp;
use naming::{Named, Naming, Onlookers};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::protocol::{Message, Role, WebSocketConfig};
use tracing::debug;
use watched::{Happened, Watched, any_cut, next_of};

/// 64 cameras with their names.
const LONGEST_MESSAGE: usize = 32 * 1024;
/// Below the minute after which proxies lose patience.
const BEAT: Duration = Duration::from_secs(25);
/// A page that takes nothing for so long is gone.
const STUCK: Duration = Duration::from_secs(60);

type Socket = WebSocketStream<UpgradedVisitor>;

/// The page's side of one feed.
struct Feed {
    socket: Socket,
    login: Login,
    source: IpAddr,
    named: BTreeMap<u16, Named>,
    watched: BTreeMap<u16, Watched>,
    /// Whose turn it was last.
    last: u16,
    flight: Flight,
    /// What is on its way, by numbers that are unique in the feed.
    sent: VecDeque<(u32, u16, u32)>,
    numbers: u32,
    _place: FeedPlace,
}

#[derive(Debug, Error)]
enum Over {
    #[error("the page ended it")]
    Left,
    #[error(transparent)]
    Broken(#[from] tokio_tungstenite::tungstenite::Error),
    #[error("the page takes nothing")]
    Stuck,
    /// What had been begun must not be sent to its end.
    #[error("cut in the middle of a frame")]
    Cut,
    #[error("the login is over")]
    SignedOut,
    #[error("the page said what is not understood: {0}")]
    Strange(String),
}

/// For a request that asks for a WebSocket, from a page of the portal's.
pub(super) fn open(
    web: &Arc<Web>,
    connection: &Arc<VisitorConnection>,
    mut request: Request<Incoming>,
    login: &Login,
    source: IpAddr,
) -> Response<Body> {
    let headers = request.headers().clone();
    let Some(place) = web.frames.feed_of(login.account) else {
        return page::too_often(&headers, StatusCode::SERVICE_UNAVAILABLE);
    };
    let is_http2 = request.version() == Version::HTTP_2;
    let mut switching = match is_http2 {
        true => Response::new(()),
        false => match answer_link_upgrade(&request) {
            Some(switching) => switching,
            None => return page::malformed(&headers, "it is not a WebSocket"),
        },
    };
    if is_http2 {
        answer_as_http2(&mut switching);
    }
    let side = VisitorSide::of(request.version(), &connection.breaker);
    let (on_upgrade, web, turns) = (hyper::upgrade::on(&mut request), web.clone(), connection.turns.clone());
    let login = login.clone();
    connection.keep_little_unsent();
    connection.spawn(async move {
        let _turn = turns.begin();
        let Ok(upgraded) = on_upgrade.await else { return debug!("a feed came to nothing") };
        let io = UpgradedVisitor::new(upgraded, side.clone());
        let config = WebSocketConfig::default();
        let config = config.max_message_size(Some(LONGEST_MESSAGE)).max_frame_size(Some(LONGEST_MESSAGE));
        let socket = WebSocketStream::from_raw_socket(io, Role::Server, Some(config)).await;
        let over = Feed::new(socket, login, source, place).run(&web).await;
        debug!(%over, "a feed ended");
        match over {
            Over::Left => {}
            Over::Broken(_) | Over::Stuck | Over::Cut | Over::SignedOut | Over::Strange(_) => side.break_off(),
        }
    });
    switching.map(|()| empty())
}

impl Feed {
    fn new(socket: Socket, login: Login, source: IpAddr, place: FeedPlace) -> Self {
        Self {
            socket,
            login,
            source,
            named: BTreeMap::new(),
            watched: BTreeMap::new(),
            last: 0,
            flight: Flight::default(),
            sent: VecDeque::new(),
            numbers: 0,
            _place: place,
        }
    }

    async fn run(mut self, web: &Web) -> Over {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let has_room = !self.flight.is_full(Instant::now());
            let done = tokio::select! {
                biased;
                (number, happened) = next_of(&mut self.watched, self.last, has_room) => self.happened(number, happened).await,
                heard = self.socket.next() => match heard {
                    Some(Ok(message)) => self.hear(message, web).await,
                    Some(Err(error)) => Err(error.into()),
                    None => Err(Over::Left),
                },
                _ = beat.tick() => self.beat(web).await,
            };
            if let Err(over) = done {
                return over;
            }
        }
    }

    async fn beat(&mut self, web: &Web) -> Result<(), Over> {
        let snapshot = web.admission.control.snapshot();
        let counts = Facts::login(&*snapshot, self.login.id).is_some_and(|login| login.counts(Timestamp::now()));
        if !counts {
            return Err(Over::SignedOut);
        }
        self.say(Message::Ping(Bytes::new())).await
    }

    async fn happened(&mut self, number: u16, happened: Happened) -> Result<(), Over> {
        match happened {
            Happened::Cut => {
                self.watched.remove(&number);
                self.tell(number, State::Ended, "cut").await
            }
            Happened::Ended => {
                self.watched.remove(&number);
                self.tell(number, State::Ended, "").await
            }
            Happened::News => self.tell_news(number).await,
            Happened::Frame(seen) => self.show(number, seen).await,
        }
    }

    async fn tell_news(&mut self, number: u16) -> Result<(), Over> {
        let Some((news, is_new)) = self.watched.get_mut(&number).map(Watched::take_news) else { return Ok(()) };
        let onlookers = Onlookers { number, viewers: news.viewers, faults: news.faults.to_string() };
        self.say(Message::text(onlookers.text())).await?;
        if is_new { self.tell(number, news.state, &news.text).await } else { Ok(()) }
    }

    async fn show(&mut self, number: u16, seen: Seen) -> Result<(), Over> {
        let (now, Seen { frame, skipped }) = (Instant::now(), seen);
        let [head, picture] = feed::frame(number, &frame, now);
        self.last = number;
        self.numbers = self.numbers.wrapping_add(1);
        self.flight.sent(self.numbers, skipped, now);
        self.sent.push_back((self.numbers, number, frame.number));
        if let Some(watched) = self.watched.get_mut(&number) {
            watched.sent(head.len() + picture.len(), now);
        }
        // In two pieces, so that the picture need not be copied behind its head.
        self.say(Message::Frame(Frame::message(head, OpCode::Data(Data::Binary), false))).await?;
        self.say(Message::Frame(Frame::message(picture, OpCode::Data(Data::Continue), true))).await
    }

    async fn hear(&mut self, message: Message, web: &Web) -> Result<(), Over> {
        match message {
            Message::Text(text) => {
                let naming = Naming::read(&text).map_err(|error| Over::Strange(error.to_string()))?;
                naming.add_to(&mut self.named).map_err(|error| Over::Strange(error.to_string()))
            }
            Message::Binary(bytes) => {
                let (mut decoder, mut input) = (Decoder::new(0), &bytes[..]);
                while let Some(said) = decoder.next(&mut input).map_err(|error| Over::Strange(error.to_string()))? {
                    self.obey(said, web).await?;
                }
                Ok(())
            }
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => Ok(()),
            Message::Close(_) => Err(Over::Left),
        }
    }

    async fn obey(&mut self, said: Said, web: &Web) -> Result<(), Over> {
        match said {
            Said::Watch { camera, caps } => match self.watched.get_mut(&camera) {
                Some(watched) => {
                    watched.change(caps, Instant::now());
                    Ok(())
                }
                None => self.watch(camera, caps, web).await,
            },
            Said::Leave { camera } => {
                self.watched.remove(&camera);
                Ok(())
            }
            Said::Shown { camera, number } => {
                self.shown(camera, number);
                Ok(())
            }
            Said::Frame { .. } | Said::State { .. } | Said::Faults { .. } => Ok(()),
        }
    }

    fn shown(&mut self, camera: u16, number: u32) {
        let is_this = |(_, of, frame): &(u32, u16, u32)| (*of, *frame) == (camera, number);
        if let Some(at) = self.sent.iter().position(is_this) {
            let (own, _, _) = self.sent[at];
            self.sent.drain(..=at);
            self.flight.shown(own, Instant::now());
        }
    }

    /// Decided now, for this camera alone.
    async fn watch(&mut self, number: u16, caps: Caps, web: &Web) -> Result<(), Over> {
        let Some(Named { device, service, mount }) = self.named.get(&number) else {
            return self.tell(number, State::Ended, "").await;
        };
        let admitted = match web.admit_at_portal(&self.login, self.source, device, service, mount.as_ref()) {
            Ok(admitted) => admitted,
            Err(Unseen::Nothing) => return self.tell(number, State::Ended, "").await,
            Err(Unseen::NotNow(why)) => return self.tell(number, State::Ended, why).await,
            Err(Unseen::TooMany) => return self.tell(number, State::Ended, "full").await,
        };
        let key = Key { service: admitted.service.id, mount: mount.clone() };
        match web.frames.look(key, admitted, caps) {
            Ok(viewer) => {
                self.watched.insert(number, Watched::new(viewer, caps, Instant::now()));
                Ok(())
            }
            Err(Crowded) => self.tell(number, State::Ended, "full").await,
        }
    }

    async fn tell(&mut self, camera: u16, state: State, text: &str) -> Result<(), Over> {
        let [whole, _] = Said::State { camera, state, text: text.to_owned() }.encode();
        self.say(Message::Binary(whole)).await
    }

    /// While a page takes nothing, what it was sent in part must be broken off when it is cut.
    async fn say(&mut self, message: Message) -> Result<(), Over> {
        let saying = timeout(STUCK, self.socket.send(message));
        tokio::select! {
            biased;
            said = saying => Ok(said.map_err(|_| Over::Stuck)??),
            () = any_cut(&self.watched) => Err(Over::Cut),
        }
    }
}
