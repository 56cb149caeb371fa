//! Why a message is not let on.

use http::StatusCode;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Refusal {
    BareLineFeed,
    BareCarriageReturn,
    ControlCharacter,
    FoldedLine,
    RequestLine,
    Version,
    Method,
    Target,
    HeaderName,
    NoHost,
    SeveralHosts,
    SeveralLengths,
    Length,
    LengthAndCoding,
    Coding,
    CodingInOldVersion,
    Expectation,
    ChunkSize,
    ChunkExtension,
    ChunkEnd,
    Trailer,
    HeadTooLarge,
    TooManyHeaders,
    Frame,
}

impl Refusal {
    pub(crate) const ALL: [Self; 24] = [
        Self::BareLineFeed,
        Self::BareCarriageReturn,
        Self::ControlCharacter,
        Self::FoldedLine,
        Self::RequestLine,
        Self::Version,
        Self::Method,
        Self::Target,
        Self::HeaderName,
        Self::NoHost,
        Self::SeveralHosts,
        Self::SeveralLengths,
        Self::Length,
        Self::LengthAndCoding,
        Self::Coding,
        Self::CodingInOldVersion,
        Self::Expectation,
        Self::ChunkSize,
        Self::ChunkExtension,
        Self::ChunkEnd,
        Self::Trailer,
        Self::HeadTooLarge,
        Self::TooManyHeaders,
        Self::Frame,
    ];

    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::HeadTooLarge | Self::TooManyHeaders => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Version => StatusCode::HTTP_VERSION_NOT_SUPPORTED,
            Self::Expectation => StatusCode::EXPECTATION_FAILED,
            Self::Coding => StatusCode::NOT_IMPLEMENTED,
            Self::BareLineFeed
            | Self::BareCarriageReturn
            | Self::ControlCharacter
            | Self::FoldedLine
            | Self::RequestLine
            | Self::Method
            | Self::Target
            | Self::HeaderName
            | Self::NoHost
            | Self::SeveralHosts
            | Self::SeveralLengths
            | Self::Length
            | Self::LengthAndCoding
            | Self::CodingInOldVersion
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkEnd
            | Self::Trailer
            | Self::Frame => StatusCode::BAD_REQUEST,
        }
    }

    /// For the page, after "This request is not understood: ".
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::BareLineFeed => "a line of it ends in a line feed alone",
            Self::BareCarriageReturn => "it has a carriage return that ends no line",
            Self::ControlCharacter => "it has a control character",
            Self::FoldedLine => "one of its headers is folded",
            Self::RequestLine => "its first line is no request",
            Self::Version => "its version is neither HTTP/1.0 nor HTTP/1.1",
            Self::Method => "this method is not taken here",
            Self::Target => "its target is not a path",
            Self::HeaderName => "the name of one of its headers is none",
            Self::NoHost => "it names no host",
            Self::SeveralHosts => "it has two Host headers",
            Self::SeveralLengths => "its length is given twice",
            Self::Length => "its length is not a number",
            Self::LengthAndCoding => "its length is given in two ways",
            Self::Coding => "its transfer coding is not taken here",
            Self::CodingInOldVersion => "its version knows no transfer coding",
            Self::Expectation => "what it expects is not done here",
            Self::ChunkSize => "the size of a chunk is not a number",
            Self::ChunkExtension => "a chunk is extended too much",
            Self::ChunkEnd => "a chunk is longer than it says",
            Self::Trailer => "it has a trailer that may be none",
            Self::HeadTooLarge => "its headers are too large",
            Self::TooManyHeaders => "it has too many headers",
            Self::Frame => "a frame of it is malformed",
        }
    }

    /// One word, for counters.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::BareLineFeed => "bare-lf",
            Self::BareCarriageReturn => "bare-cr",
            Self::ControlCharacter => "control-character",
            Self::FoldedLine => "folded",
            Self::RequestLine => "request-line",
            Self::Version => "version",
            Self::Method => "method",
            Self::Target => "target",
            Self::HeaderName => "header-name",
            Self::NoHost => "no-host",
            Self::SeveralHosts => "several-hosts",
            Self::SeveralLengths => "several-lengths",
            Self::Length => "length",
            Self::LengthAndCoding => "length-and-coding",
            Self::Coding => "coding",
            Self::CodingInOldVersion => "coding-in-old-version",
            Self::Expectation => "expectation",
            Self::ChunkSize => "chunk-size",
            Self::ChunkExtension => "chunk-extension",
            Self::ChunkEnd => "chunk-end",
            Self::Trailer => "trailer",
            Self::HeadTooLarge => "head-too-large",
            Self::TooManyHeaders => "too-many-headers",
            Self::Frame => "frame",
        }
    }
}
