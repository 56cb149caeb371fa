mod auditing;
mod editing;
mod enrolment;
mod publishing;
mod registration;
mod resting;
mod support;
mod world;
