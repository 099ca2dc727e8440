//! An exhaustive search through procref's protocol.
//!
//! The decisions are the library's own ([`procref::protocol`]), and so are the arrays of operations. What is modelled is
//! the kernel that applies them ([`kernel`]), and the code that performs the decisions, one kernel operation at a time
//! ([`world`]). The search ([`search`]) goes through every interleaving of clients and guardians, with every process
//! killed before and after every operation, as far as the bounds of a [`world::Config`] reach.
//!
//! The model is coarser than the kernel in one respect, on purpose: the kernel runs a sleeper's array in the very instant
//! in which it applies, the model at any time from then on. So it sees all that can happen, and some more.
//!
//! # What is forked
//!
//! A *forked client* has a copy of its parent's memory and descriptors, another number, and no undo. So its copies of
//! handles do nothing, its registry is empty, and it acquires like any other process; the end of the pipe that it has
//! inherited is held until it drops the copies or ends, and the guardian of a removed set waits for that.
//!
//! *What a service has forked* lives on when its process ends, as a daemon does. The library takes that end for the
//! service's: it finishes what is left of a declared service by its marks (parent, session, environment), before it forgets
//! the record. Of a service that a callback starts, it knows one process only.
//!
//! # Why a search of its own
//!
//! Model checkers of the registry, stateright among them, go through the states of a model as this does, breadth first. What takes
//! the work here is the model, and it would be the same. The rest is two hundred lines, and does what they do not:
//! - "Everybody who waits stops waiting" is a property of infinite runs. stateright's `eventually` is evaluated on the paths of its
//!   search, which end where a state has been seen before, so by its own documentation it misses circles and paths that join. Here all
//!   steps are kept, and looked at backwards from the ends, without those that nobody can count on.
//! - States are put in a normal form by more than symmetry: numbers of what is gone, what the kernel would take back in
//!   a set that is gone. That makes them fewer by a factor of ten.
//! - A state is kept as a fingerprint, and what was found is told by the numbers that processes had all along.

pub mod kernel;
pub mod search;
pub mod world;
