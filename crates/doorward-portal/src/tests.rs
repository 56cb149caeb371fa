mod api;
mod dashboard;
mod loopback;
mod page;
mod people;
mod site;
mod support;
