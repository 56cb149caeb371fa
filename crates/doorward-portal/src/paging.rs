//! Long lists, piece by piece: `?limit=&after=`, and a Link header (RFC 8288) that leads on. Whoever asks for no limit gets
//! all.

use crate::answer::Problem;
use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::response::{IntoResponse, Response};
use http::header::{HeaderValue, LINK};
use http::request::Parts;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;

pub(crate) const MOST: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Paging {
    limit: Option<usize>,
    after: Option<String>,
}

/// By what a list is ordered, as it stands in a URL.
pub(crate) trait Place: Ord + Sized {
    fn text(&self) -> String;
    fn read(text: &str) -> Option<Self>;
}

impl Place for String {
    fn text(&self) -> String {
        self.clone()
    }

    fn read(text: &str) -> Option<Self> {
        Some(text.to_owned())
    }
}

/// Of a device and a service.
impl Place for (String, String) {
    fn text(&self) -> String {
        format!("{}/{}", self.0, self.1)
    }

    fn read(text: &str) -> Option<Self> {
        text.split_once('/').map(|(device, service)| (device.to_owned(), service.to_owned()))
    }
}

impl Place for u64 {
    fn text(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// The newest first.
impl Place for Reverse<i64> {
    fn text(&self) -> String {
        self.0.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        text.parse().ok().map(Reverse)
    }
}

/// A list, or a piece of one.
pub(crate) struct Listed<T> {
    items: Vec<T>,
    /// What the Link header leads to.
    next: Option<String>,
    /// The place after which that is.
    after: Option<String>,
}

impl Paging {
    pub(crate) fn new(limit: Option<usize>, after: Option<String>) -> Self {
        Self { limit, after }
    }

    pub(crate) fn limit(&self) -> Result<Option<usize>, Problem> {
        match self.limit {
            Some(limit) if limit == 0 || limit > MOST => {
                Err(Problem::invalid(format!("limit: write a number from 1 to {MOST}")))
            }
            limit => Ok(limit),
        }
    }

    pub(crate) fn after<P: Place>(&self) -> Result<Option<P>, Problem> {
        let read = |text: &String| P::read(text).ok_or_else(|| Problem::invalid("after: take it from the Link header"));
        self.after.as_ref().map(read).transpose()
    }

    /// For lists that are found in order: one more than was asked for shows that it goes on.
    pub(crate) fn most(&self) -> Result<usize, Problem> {
        Ok(self.limit()?.map_or(usize::MAX, |limit| limit + 1))
    }

    /// What was found by [`Paging::most`], from where it was to begin.
    pub(crate) fn piece<T, P: Place>(&self, mut found: Vec<T>, place: impl Fn(&T) -> P) -> Result<Listed<T>, Problem> {
        let Some(limit) = self.limit()?.filter(|limit| *limit < found.len()) else { return Ok(Listed::whole(found)) };
        found.truncate(limit);
        Ok(Listed::piece(found, limit, &[], place))
    }

    /// The piece of `all` that was asked for, in the order of their places.
    pub(crate) fn of<T, P: Place>(&self, mut all: Vec<T>, place: impl Fn(&T) -> P) -> Result<Listed<T>, Problem> {
        let limit = self.limit()?;
        if let Some(after) = self.after::<P>()? {
            all.retain(|item| place(item) > after);
        }
        all.sort_by_cached_key(&place);
        let Some(limit) = limit.filter(|limit| *limit < all.len()) else { return Ok(Listed::whole(all)) };
        all.truncate(limit);
        Ok(Listed::piece(all, limit, &[], place))
    }
}

impl<T> Listed<T> {
    pub(crate) fn whole(items: Vec<T>) -> Self {
        Self { items, next: None, after: None }
    }

    /// One that goes on. `besides`: what else the query says.
    pub(crate) fn piece<P: Place>(
        items: Vec<T>,
        limit: usize,
        besides: &[(&str, &str)],
        place: impl Fn(&T) -> P,
    ) -> Self {
        let after = items.last().map(|last| place(last).text());
        let next = after.clone().map(|after| {
            let limit = limit.to_string();
            let all: Vec<_> =
                [("limit", limit.as_str()), ("after", after.as_str())].iter().chain(besides).copied().collect();
            let query = serde_urlencoded::to_string(all).expect("text is always encodable");
            format!("<?{query}>; rel=\"next\"")
        });
        Self { items, next, after }
    }

    /// The items, and after which place the list goes on, if it does.
    pub(crate) fn into_parts(self) -> (Vec<T>, Option<String>) {
        (self.items, self.after)
    }

    pub(crate) fn map<U>(self, change: impl FnMut(T) -> U) -> Listed<U> {
        Listed { items: self.items.into_iter().map(change).collect(), next: self.next, after: self.after }
    }
}

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.items).into_response();
        // What stands in it is encoded.
        if let Some(next) = self.next.and_then(|next| HeaderValue::try_from(next).ok()) {
            response.headers_mut().insert(LINK, next);
        }
        response
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<Self>::from_request_parts(parts, state).await;
        query.map(|Query(asked)| asked).map_err(|error| Problem::invalid(error.body_text()))
    }
}
