//! Breadth first through all states, so that what is found is found by the shortest way.
//!
//! A state is known by a fingerprint of 128 bits; states as such are kept only until all that can follow them has been
//! looked at. With a hundred million states, the chance that two of them have the same one is below one in 10^22.

use crate::world::{Broken, Config, Label, Step, World};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hash, Hasher};

/// What a search has seen.
#[derive(Debug)]
pub struct Report {
    /// How many states there are.
    pub states: usize,
    /// How many steps lead from one to another.
    pub steps: usize,
    /// How many states are the end of everything.
    pub ends: usize,
    /// From how many states some run never ends unless the scheduler is fair: it goes round in a circle of steps, while
    /// somebody who could go on never does. Under fairness they all end.
    pub need_fairness: usize,
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

/// Two multiplications with folded halves for each word.
#[derive(Clone, Copy)]
struct Mix {
    one: u64,
    other: u64,
}

impl Default for Mix {
    fn default() -> Self {
        Self { one: 0x243f_6a88_85a3_08d3, other: 0x1319_8a2e_0370_7344 }
    }
}

impl Mix {
    const fn fold(state: u64, word: u64, by: u64) -> u64 {
        let product = ((state ^ word) as u128).wrapping_mul(by as u128);
        (product as u64) ^ ((product >> 64) as u64)
    }

    const fn word(&mut self, word: u64) {
        self.one = Self::fold(self.one, word, 0x9e37_79b9_7f4a_7c15).rotate_left(23).wrapping_add(word);
        self.other = Self::fold(self.other, word, 0xd6e8_feb8_6659_fd93).rotate_left(41).wrapping_sub(word);
    }

    const fn print(mut self) -> u128 {
        self.word(0x0ddc_0ffe_e0dd_f00d);
        ((self.one as u128) << 64) | self.other as u128
    }
}

impl Hasher for Mix {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0_u8; 8];
            word.iter_mut().zip(chunk).for_each(|(to, from)| *to = *from);
            self.word(u64::from_le_bytes(word));
        }
    }
    fn write_u8(&mut self, number: u8) {
        self.word(number.into());
    }
    fn write_u16(&mut self, number: u16) {
        self.word(number.into());
    }
    fn write_u32(&mut self, number: u32) {
        self.word(number.into());
    }
    fn write_u64(&mut self, number: u64) {
        self.word(number);
    }
    fn write_usize(&mut self, number: usize) {
        self.word(number as u64);
    }
    fn write_isize(&mut self, number: isize) {
        self.word(number as u64);
    }
    fn finish(&self) -> u64 {
        self.one
    }
}

/// A value's fingerprint.
pub(crate) fn print(value: &impl Hash) -> u128 {
    let mut mix = Mix::default();
    value.hash(&mut mix);
    mix.print()
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
    let first = World::new(config).normal(config);
    let mut prints = vec![print(&first)];
    let mut numbers: HashMap<u128, u32, BuildHasherDefault<Mix>> = HashMap::default();
    numbers.insert(print(&first), 0);
    // From where a state was first reached.
    let mut from = vec![0_u32];
    let mut todo = VecDeque::from([first]);
    // Steps that somebody takes sooner or later, if the scheduler is fair: to, from.
    let mut into: Vec<(u32, u32)> = Vec::new();
    let mut quiet: Vec<u32> = Vec::new();
    let (mut number, mut steps) = (0_u32, 0);
    while let Some(world) = todo.pop_front() {
        let found = |last, broken| counterexample(config, &prints, &from, number, last, broken);
        world.check().map_err(|broken| found(false, broken))?;
        let next = world.next(config, false);
        if next.iter().all(|step| step.fault) {
            world.check_quiet(config).map_err(|broken| found(false, broken))?;
            quiet.push(number);
        }
        for Step { fault, to, .. } in next {
            steps += 1;
            let next = match to {
                Ok(next) => next.normal(config),
                Err(broken) => return Err(counterexample(config, &prints, &from, number, true, broken)),
            };
            let (print, fresh) = (print(&next), prints.len() as u32);
            let to = *numbers.entry(print).or_insert(fresh);
            if to == fresh {
                prints.push(print);
                from.push(number);
                todo.push_back(next);
                assert!(prints.len() <= most, "more than {most} states");
            }
            if !fault {
                into.push((to, number));
            }
        }
        number += 1;
    }
    let need_fairness = ends(prints.len(), into, &quiet).map_err(|stuck| {
        counterexample(config, &prints, &from, stuck, false, "from here nothing leads to an end".into())
    })?;
    Ok(Report { states: prints.len(), steps, ends: quiet.len(), need_fairness })
}

/// How it came to a state, and what was done there: the same way once more, with the names of the steps.
fn counterexample(
    config: &Config,
    prints: &[u128],
    from: &[u32],
    mut at: u32,
    last: bool,
    broken: Broken,
) -> Counterexample {
    let mut way: Vec<u128> = Vec::new();
    while at != 0 {
        way.extend(prints.get(at as usize));
        at = from.get(at as usize).copied().unwrap_or(0);
    }
    way.reverse();
    // Without putting processes in order in between, so that each keeps its number.
    let mut world = World::new(config);
    let mut path = Vec::new();
    for wanted in &way {
        let leads = |step: &Step| step.to.as_ref().is_ok_and(|to| print(&to.clone().normal(config)) == *wanted);
        let Some(step) = world.next(config, true).into_iter().find(leads) else { break };
        path.push(step.label);
        if let Ok(next) = step.to {
            world = next;
        }
    }
    if last {
        let step = world.next(config, true).into_iter().find(|step| step.to.is_err());
        path.extend(step.map(|step| step.label));
    }
    Counterexample { broken, path }
}

/// From every state a quiet one can be reached, by steps of processes that run: under fairness, everybody who waits stops
/// waiting. How many states there are from which that takes fairness; or one from which there is no way.
fn ends(states: usize, mut into: Vec<(u32, u32)>, quiet: &[u32]) -> Result<usize, u32> {
    into.sort_unstable();
    let mut ways_out = vec![0_u32; states];
    for &(_, before) in &into {
        if let Some(count) = ways_out.get_mut(before as usize) {
            *count += 1;
        }
    }
    let before = |state: u32| {
        let first = into.partition_point(|&(to, _)| to < state);
        into.get(first..).unwrap_or(&[]).iter().take_while(move |&&(to, _)| to == state).map(|&(_, before)| before)
    };
    let mut reaches = vec![false; states];
    let mut todo: Vec<u32> = quiet.to_vec();
    for &state in quiet {
        if let Some(slot) = reaches.get_mut(state as usize) {
            *slot = true;
        }
    }
    while let Some(state) = todo.pop() {
        for before in before(state) {
            if let Some(slot) = reaches.get_mut(before as usize).filter(|slot| !**slot) {
                *slot = true;
                todo.push(before);
            }
        }
    }
    if let Some(stuck) = reaches.iter().position(|reaches| !reaches) {
        return Err(stuck as u32);
    }
    // Those from which every run ends by itself are taken away, beginning at the ends. What stays lies before a circle.
    let mut circling = states;
    todo.extend(quiet);
    while let Some(state) = todo.pop() {
        circling -= 1;
        for before in before(state) {
            if let Some(count) = ways_out.get_mut(before as usize) {
                *count -= 1;
                if *count == 0 {
                    todo.push(before);
                }
            }
        }
    }
    Ok(circling)
}
