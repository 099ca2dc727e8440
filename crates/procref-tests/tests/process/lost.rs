//! Files that are deleted.

use crate::{World, both};
use std::fs;

both! {
    fn without_its_files_a_service_loses_its_metadata_and_nothing_else(mut world) {
        world.config.note = "postgres://localhost/test".into();
        let [mut first, mut second, mut third] = world.actors();
        let started = first.acquire();
        assert_eq!(second.acquire(), started, "the metadata, too");
        assert_eq!(started.note, "postgres://localhost/test");

        fs::remove_dir_all(&world.config.runtime_dir).expect("it is there");
        let joined = third.acquire();
        assert_eq!((joined.pid, joined.port, joined.generation), (started.pid, started.port, started.generation));
        assert!(joined.metadata_lost && joined.note.is_empty(), "{joined:?}");
        assert_eq!(world.status().clients, 3);
        assert_eq!(world.events.count("birth"), 1);
        for actor in [first, second, third] {
            actor.kill();
        }
        world.sandbox.assert_nothing_left();
        world.assert_stopped_by_the_system(1);
    }
}
