//! What payloads of every format become: the examples beside the ready mappings, and reference payloads with known
//! answers.

mod examples;
mod reference;
mod sparkplug;
mod street;
