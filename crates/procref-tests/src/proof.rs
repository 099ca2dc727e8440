//! Many cases of one kind, and what came of them: a line that begins with `proof:`, of which `scripts/prove` makes a table.

/// Which of so many cases run: some of them with even steps between, always the same; or those that `PROCREF_PROOF` says:
/// `full` for all, or the number of one.
///
/// # Panics
///
/// `PROCREF_PROOF` says something else.
#[must_use]
pub fn chosen(cases: usize, share: usize) -> Vec<usize> {
    match std::env::var("PROCREF_PROOF") {
        Ok(value) if value == "full" => (0..cases).collect(),
        Ok(value) => vec![value.parse().expect("PROCREF_PROOF is `full` or the number of a case")],
        Err(_) => {
            let count = share.min(cases);
            (0..count).map(|index| index * cases / count).collect()
        }
    }
}

/// What came of all cases of an attack on a role.
#[derive(Debug)]
pub struct Tally {
    attack: &'static str,
    role: &'static str,
    cases: usize,
    broken: Vec<String>,
}

impl Tally {
    /// None so far.
    #[must_use]
    pub const fn new(attack: &'static str, role: &'static str) -> Self {
        Self { attack, role, cases: 0, broken: Vec::new() }
    }

    /// Takes note of a case, and of how a promise was broken in it.
    pub fn note(&mut self, case: &str, outcome: Result<(), String>) {
        self.cases += 1;
        if let Err(how) = outcome {
            let line = format!("{} {}, {case}: {how}", self.attack, self.role);
            println!("{line}");
            self.broken.push(line);
        }
    }

    /// Says it.
    ///
    /// # Panics
    ///
    /// A promise was broken.
    pub fn end(self) {
        let Self { attack, role, cases, broken } = self;
        println!("proof: {attack} {role}: {cases} cases, {} broken", broken.len());
        assert!(cases > 0, "no case at all");
        assert!(broken.is_empty(), "{} of {cases} cases:\n{}", broken.len(), broken.join("\n"));
    }
}
