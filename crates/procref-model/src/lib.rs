//! An exhaustive search through procref's protocol.
//!
//! The decisions are the library's own ([`procref::protocol`]), and so are the arrays of operations. What is modelled is
//! the kernel that applies them ([`kernel`]), and the code that performs the decisions, one kernel operation at a time
//! ([`world`]). The search ([`search`]) goes through every interleaving of clients and guardians, with every process
//! killed before and after every operation, as far as the bounds of a [`world::Config`] reach.
//!
//! The model is coarser than the kernel in one respect, on purpose: the kernel runs a sleeper's array in the very instant
//! in which it applies, the model at any time from then on. So it sees all that can happen, and some more.

pub mod kernel;
pub mod search;
pub mod world;
