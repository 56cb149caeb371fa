mod api;
mod loopback;
mod page;
mod people;
mod site;
mod support;
