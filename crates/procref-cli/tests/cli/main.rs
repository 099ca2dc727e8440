//! The command, as people and scripts use it: real processes, and a check after each test that nothing is left.
//!
//! The tests run on every system, from the same source: services and commands are this program in a [`part`]. These are there
//! on Linux alone, and single tests under `linux_only!`, which has the reason:
//!
//! | what | why |
//! |---|---|
//! | `hold::signals` | signals, as kill(1) sends them |
//! | `gc_guardian` | a guardian that is killed, and IPC namespaces |
//! | `proof` | the last system call: ptrace(2) |
//! | `run_servers` | Redis, shells, Unix sockets, and all ways to be ready |
//! | `with_exec` | becoming another program, with its signals and descriptors |
//!
//! [`sys`] has what they need of a system, and what is there on Windows alone: the job that `procref with` shares with its
//! command.

mod bad;
mod ctrl_c;
mod describe;
mod doctor;
mod gc;
mod hold;
mod kit;
mod logs;
mod needs;
mod part;
mod run;
mod scope;
mod status;
mod stop;
mod sys;
mod terminal;
mod wait;
mod with;

procref_tests::linux_only! { "said above":
    mod gc_guardian;
    mod proof;
    mod run_servers;
    mod with_exec;
}
