//! What services need of each other, over all files.

use super::near::nearest;
use super::report::{Problem, Source};
use super::types::Scope;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// How deep needs may go; what walks through them later relies on it.
const DEEPEST: usize = 100;

/// A service's needs, and where they are listed.
#[derive(Debug)]
pub(super) struct Needs<'a> {
    pub(super) source: &'a Source,
    pub(super) scope: Option<Scope>,
    pub(super) needs: Vec<(String, Range<usize>)>,
}

/// Unknown ones, ones that are shared by fewer than who needs them, and cycles.
pub(super) fn check(services: &BTreeMap<String, Needs<'_>>, problems: &mut Vec<Problem>) {
    for (name, Needs { source, scope, needs }) in services {
        for (need, at) in needs {
            let Some(needed) = services.get(need) else {
                let others = services.keys().map(String::as_str).filter(|other| other != name);
                let help = match nearest(need, others) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("declare it as [services.{need}], here or in the user's own procref.toml"),
                };
                problems.push(source.problem(at.clone(), format!("there is no service `{need}`"), help));
                continue;
            };
            if let (Some(own), Some(other)) = (scope, needed.scope)
                && *own > other
            {
                let what = format!(
                    "`{name}` has the scope \"{}\" and needs `{need}`, which has only \"{}\"",
                    own.as_str(),
                    other.as_str()
                );
                let help = "a service cannot be shared by more than what it needs";
                problems.push(source.problem(at.clone(), what, help));
            }
        }
    }
    let mut search = Search { services, path: Vec::new(), done: BTreeSet::new(), problems };
    services.keys().for_each(|name| search.visit(name));
}

struct Search<'a, 's> {
    services: &'a BTreeMap<String, Needs<'s>>,
    /// From where the search began to where it is.
    path: Vec<&'a str>,
    done: BTreeSet<&'a str>,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Search<'a, '_> {
    fn visit(&mut self, name: &'a str) {
        if self.done.contains(name) {
            return;
        }
        let Some(Needs { source, needs, .. }) = self.services.get(name) else { return };
        self.path.push(name);
        for (need, at) in needs {
            if let Some(begin) = self.path.iter().position(|on_the_way| on_the_way == need) {
                let cycle: Vec<_> = self.path.iter().skip(begin).copied().chain([need.as_str()]).collect();
                let what = format!("`{need}` would have to run before itself: {}", cycle.join(" -> "));
                self.problems.push(source.problem(at.clone(), what, "leave out one of these needs"));
            } else if self.path.len() >= DEEPEST {
                let what =
                    format!("`{need}` is needed by {DEEPEST} services, each of which is needed by the one before");
                self.problems.push(source.problem(at.clone(), what, "needs cannot go so deep"));
            } else {
                self.visit(need);
            }
        }
        self.path.pop();
        self.done.insert(name);
    }
}
