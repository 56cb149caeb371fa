mod api;
mod loopback;
mod page;
mod support;
