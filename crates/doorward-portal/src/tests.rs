mod api;
mod loopback;
mod page;
mod people;
mod signing_in;
mod site;
mod support;
mod welcomes;
