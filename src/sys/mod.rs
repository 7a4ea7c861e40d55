//! The process and its surroundings: system calls that are nobody's subject
//! else, one concern a module. `unsafe` stands here or nowhere.

pub mod credentials;
pub mod descriptors;
pub mod limits;
pub mod local_time;
pub mod names;
pub mod thread_identity;
