//! Which of the public types may be sent, shared and moved: a promise that a new field could break.

use procref::process::{Process, SignalOutcome};
use procref::{
    Acquired, Builder, Error, ErrorKind, PlatformRefCounter, RefCounter, Released, ServiceHandle, ServiceInfo,
    ServiceState, SharedService, Status, StopLadder, StopSignal, blocking,
};
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;

const fn shared<T: Send + Sync + Unpin + Debug + 'static>() {}
const fn cloned<T: Clone>() {}
const fn copied<T: Copy + Eq + Hash>() {}
const fn error<T: std::error::Error>() {}

const _: () = {
    shared::<SharedService>();
    shared::<Builder>();
    shared::<ServiceHandle>();
    shared::<blocking::SharedService>();
    shared::<blocking::Builder>();
    shared::<blocking::ServiceHandle>();
    shared::<ServiceInfo>();
    shared::<Status>();
    shared::<ServiceState>();
    shared::<StopLadder>();
    shared::<StopSignal>();
    shared::<Error>();
    shared::<ErrorKind>();
    shared::<PlatformRefCounter>();
    shared::<Acquired>();
    shared::<Released>();
    shared::<Process>();
    shared::<SignalOutcome>();

    cloned::<SharedService>();
    cloned::<blocking::SharedService>();
    cloned::<ServiceInfo>();
    cloned::<Status>();
    cloned::<StopLadder>();
    cloned::<Error>();

    copied::<ServiceState>();
    copied::<StopSignal>();
    copied::<ErrorKind>();
    copied::<Acquired>();
    copied::<Released>();
    copied::<SignalOutcome>();

    error::<Error>();
};

fn sent<T: Future + Send>(future: T) -> T {
    future
}

#[test]
fn futures_may_be_sent() {
    let bed = crate::kit::Bed::new();
    let service = bed.service();
    drop(sent(service.acquire()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let handle = service.acquire().await.expect("it starts");
        sent(handle.release()).await.expect("it stops");
    });
    let counter: &dyn RefCounter = &PlatformRefCounter::new(&bed.name).expect("a good name");
    let shared: &(dyn Send + Sync) = &counter;
    let _ = shared;
}
