//! The command, as people and scripts use it: real processes, and a check after each test that nothing is left.

mod bad;
mod ctrl_c;
mod describe;
mod doctor;
mod gc;
mod hold;
mod kit;
mod logs;
mod needs;
mod proof;
mod run;
mod scope;
mod status;
mod stop;
mod terminal;
mod wait;
mod with;
