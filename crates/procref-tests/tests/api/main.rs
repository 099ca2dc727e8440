//! The public API as one process sees it: what it promises of counts, callbacks, errors, drops and files.

mod kit;

mod blocking;
mod cancel;
mod counter;
mod folder;
mod handles;
mod health;
mod info;
mod names;
mod process;
mod release;
mod start;
mod status;
mod tracing;
mod traits;

procref_tests::linux_only! { "a semaphore set can be changed and removed by who is no client, and another one lie under its key":
    mod sets;
    mod foreign;
    mod removed;
    mod transitions;
}
procref_tests::linux_only! { "fork(2)":
    mod forked;
}
procref_tests::linux_only! { "unshare(2), which sets a thread apart":
    mod threads;
}
procref_tests::linux_only! { "modes, owners, links and FIFOs":
    mod links;
}
procref_tests::linux_only! { "signals that make a process stand still, users by number, threads with process numbers":
    mod numbers;
}
