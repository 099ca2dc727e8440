//! Breadth first through all states, so that what is found is found by the shortest way.

use crate::world::{Broken, Config, Label, World};
use std::collections::HashMap;

/// What a search has seen.
#[derive(Debug)]
pub struct Report {
    /// How many states there are.
    pub states: usize,
    /// How many steps lead from one to another.
    pub steps: usize,
    /// How many states are the end of everything.
    pub ends: usize,
}

/// A promise that was broken, and how it came to that.
#[derive(Debug)]
pub struct Counterexample {
    /// The promise.
    pub broken: Broken,
    /// The shortest way there.
    pub path: Vec<Label>,
}

impl std::fmt::Display for Counterexample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "{}", self.broken)?;
        self.path.iter().try_for_each(|step| writeln!(f, "    {step}"))
    }
}

/// Goes through every state that the configuration allows.
///
/// # Errors
///
/// A promise is broken.
///
/// # Panics
///
/// There are more states than `most`.
pub fn search(config: &Config, most: usize) -> Result<Report, Counterexample> {
    let first = World::new(config);
    let mut numbers: HashMap<World, u32> = HashMap::from([(first.clone(), 0)]);
    // How a state was first reached.
    let mut from: Vec<(u32, Label)> = vec![(0, String::new())];
    let mut worlds = vec![first];
    let mut into: Vec<(u32, u32)> = Vec::new();
    let mut quiet: Vec<u32> = Vec::new();
    let (mut number, mut steps) = (0_usize, 0);
    while let Some(world) = worlds.get(number).cloned() {
        world.check().map_err(|broken| counterexample(&from, number as u32, None, broken))?;
        if world.is_quiet(config) {
            world.check_quiet(config).map_err(|broken| counterexample(&from, number as u32, None, broken))?;
            quiet.push(number as u32);
        }
        for (label, next) in world.next(config) {
            steps += 1;
            let next = next.map_err(|broken| counterexample(&from, number as u32, Some(label.clone()), broken))?;
            let fresh = worlds.len() as u32;
            let to = *numbers.entry(next.clone()).or_insert(fresh);
            if to == fresh {
                from.push((number as u32, label));
                worlds.push(next);
                assert!(worlds.len() <= most, "more than {most} states");
            }
            into.push((to, number as u32));
        }
        number += 1;
    }
    ends(&worlds, into, &quiet)
        .map_err(|stuck| counterexample(&from, stuck, None, "from here nothing leads to an end".into()))?;
    Ok(Report { states: worlds.len(), steps, ends: quiet.len() })
}

/// How it came to a state, and what was done there.
fn counterexample(from: &[(u32, Label)], mut at: u32, last: Option<Label>, broken: Broken) -> Counterexample {
    let mut path: Vec<Label> = last.into_iter().collect();
    while let Some((before, label)) = from.get(at as usize).filter(|_| at != 0) {
        path.push(label.clone());
        at = *before;
    }
    path.reverse();
    Counterexample { broken, path }
}

/// From every state a quiet one can be reached: under fairness, everybody who waits stops waiting.
fn ends(worlds: &[World], mut into: Vec<(u32, u32)>, quiet: &[u32]) -> Result<(), u32> {
    into.sort_unstable();
    let mut reaches = vec![false; worlds.len()];
    let mut todo: Vec<u32> = quiet.to_vec();
    for &state in quiet {
        if let Some(slot) = reaches.get_mut(state as usize) {
            *slot = true;
        }
    }
    while let Some(state) = todo.pop() {
        let first = into.partition_point(|&(to, _)| to < state);
        for &(_, before) in into.iter().skip(first).take_while(|&&(to, _)| to == state) {
            if let Some(slot) = reaches.get_mut(before as usize).filter(|slot| !**slot) {
                *slot = true;
                todo.push(before);
            }
        }
    }
    match reaches.iter().position(|reaches| !reaches) {
        Some(stuck) => Err(stuck as u32),
        None => Ok(()),
    }
}
