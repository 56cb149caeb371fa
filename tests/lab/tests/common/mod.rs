pub(crate) mod cut;
