//! The follower against a real directory, with all the ways in which people change files.

use std::{fs, os::unix::fs::symlink};

use tempfile::TempDir;

use super::*;
use crate::load;

/// Much longer than a poll and its quiet time; the tests end when the condition holds.
const DEADLINE: Duration = Duration::from_secs(20);

fn registry(name: &str) -> String {
    format!(
        "apiVersion: landfall.dev/v1\nkind: Registry\nmetadata: {{ name: {name} }}\nspec: {{ static: {{ services: [] }} }}\n"
    )
}

struct World {
    dir: TempDir,
    follower: ConfigFollower,
    state: watch::Receiver<ConfigState>,
}

impl World {
    /// Follows `config` in a new directory that `prepare` has filled.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        prepare(dir.path());
        let path = dir.path().join("config.yaml");
        let follower = follow(&path, load(&path).unwrap());
        let state = follower.state();
        Self { dir, follower, state }
    }

    fn file() -> Self {
        Self::new(|dir| fs::write(dir.join("config.yaml"), registry("one")).unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn wait(&mut self, what: &str, condition: impl FnMut(&ConfigState) -> bool) -> ConfigState {
        let found = time::timeout(DEADLINE, self.state.wait_for(condition)).await;
        found.unwrap_or_else(|_| panic!("not in time: {what}")).unwrap().clone()
    }

    async fn wait_name(&mut self, name: &str) -> ConfigState {
        self.wait(name, |state| {
            state.refused.is_none() && state.current.registries.iter().any(|r| r.name.as_str() == name)
        })
        .await
    }
}

#[tokio::test]
async fn a_written_file_takes_effect_as_the_next_version() {
    let mut world = World::file();
    assert_eq!(world.state.borrow().version, 1);
    fs::write(world.path("config.yaml"), registry("two")).unwrap();
    let state = world.wait_name("two").await;
    assert_eq!((state.version, state.current.rules.version), (2, 2));
    let history = world.follower.history();
    assert_eq!(history.iter().map(|a| a.version).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(
        history[1].sources[0].bytes.as_deref().unwrap(),
        registry("one").as_bytes()
    );
    assert_ne!(history[0].fingerprint, history[1].fingerprint);
}

#[tokio::test]
async fn a_file_that_is_replaced_by_renaming_takes_effect() {
    let mut world = World::file();
    for name in ["two", "three"] {
        fs::write(world.path("config.yaml.new"), registry(name)).unwrap();
        fs::rename(world.path("config.yaml.new"), world.path("config.yaml")).unwrap();
        world.wait_name(name).await;
    }
}

#[tokio::test]
async fn a_swapped_symlink_takes_effect_as_a_config_map_does_it() {
    let mut world = World::new(|dir| {
        for (version, name) in [("v1", "one"), ("v2", "two")] {
            fs::create_dir(dir.join(version)).unwrap();
            fs::write(dir.join(version).join("config.yaml"), registry(name)).unwrap();
        }
        symlink("v1", dir.join("..data")).unwrap();
        symlink("..data/config.yaml", dir.join("config.yaml")).unwrap();
    });
    symlink("v2", world.path("..data.new")).unwrap();
    fs::rename(world.path("..data.new"), world.path("..data")).unwrap();
    world.wait_name("two").await;
}

#[tokio::test]
async fn files_of_a_directory_come_and_go() {
    let mut world = World::new(|dir| {
        fs::create_dir(dir.join("config.yaml")).unwrap();
        fs::write(dir.join("config.yaml/a.yaml"), registry("one")).unwrap();
    });
    fs::write(world.path("config.yaml/b.yaml"), registry("two")).unwrap();
    assert_eq!(world.wait_name("two").await.current.registries.len(), 2);
    fs::remove_file(world.path("config.yaml/a.yaml")).unwrap();
    world
        .wait("one is gone", |state| state.current.registries.len() == 1)
        .await;
}

#[tokio::test]
async fn a_bad_change_is_refused_whole_and_shown_until_it_is_mended() {
    let mut world = World::file();
    let bad = format!("{}---\nkind: Nonsense\n", registry("two"));
    fs::write(world.path("config.yaml"), bad).unwrap();
    let state = world.wait("refused", |state| state.refused.is_some()).await;
    assert_eq!(state.version, 1);
    assert_eq!(state.current.registries[0].name.as_str(), "one");
    let refused = state.refused.unwrap();
    assert_eq!((refused.problems.len(), refused.problems[0].line), (1, 6));

    fs::write(world.path("config.yaml"), registry("three")).unwrap();
    let state = world.wait_name("three").await;
    assert_eq!(state.version, 2);
    assert_eq!(world.follower.history().len(), 2, "what was refused is no version");
}

#[tokio::test]
async fn going_back_to_the_good_text_ends_the_refusal_without_a_new_version() {
    let mut world = World::file();
    fs::remove_file(world.path("config.yaml")).unwrap();
    let state = world.wait("refused", |state| state.refused.is_some()).await;
    assert!(state.refused.unwrap().problems[0].what.contains("cannot be read"));
    fs::write(world.path("config.yaml"), registry("one")).unwrap();
    let state = world.wait("not refused", |state| state.refused.is_none()).await;
    assert_eq!(state.version, 1);
}

#[tokio::test]
async fn a_refused_configuration_is_taken_when_the_file_it_names_appears() {
    let mut world = World::file();
    let policy = "---\napiVersion: landfall.dev/v1\nkind: ServicePolicy\nmetadata: { name: p }\nspec: { tls: { ca: \"file:ca.pem\" } }\n";
    fs::write(world.path("config.yaml"), registry("two") + policy).unwrap();
    world.wait("refused", |state| state.refused.is_some()).await;
    fs::write(world.path("ca.pem"), "-----BEGIN CERTIFICATE-----\n").unwrap();
    world.wait_name("two").await;
}

#[tokio::test]
async fn a_reload_on_demand_looks_at_once_and_changes_nothing_when_nothing_changed() {
    let mut world = World::file();
    world.follower.reload_now();
    fs::write(world.path("config.yaml"), registry("two")).unwrap();
    world.follower.reload_now();
    assert_eq!(world.wait_name("two").await.version, 2);
}

#[test]
fn unchanged_parts_stay_the_same_objects() {
    let base = include_str!("../../tests/broken/base.yaml");
    let read = |text: &str| load::load_text("c", Path::new(""), text).unwrap().rules;
    let old = read(base);
    let mut new = read(&base.replace("serverName: orders.internal", "serverName: other.internal"));
    keep_unchanged(&old, &mut new);
    assert!(Arc::ptr_eq(&old.routes[0], &new.routes[0]) && Arc::ptr_eq(&old.listeners[1], &new.listeners[1]));
    assert!(!Arc::ptr_eq(&old.policies[0], &new.policies[0]));
}
