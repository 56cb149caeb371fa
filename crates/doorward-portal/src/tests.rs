mod api;
mod loopback;
mod page;
mod people;
mod support;
