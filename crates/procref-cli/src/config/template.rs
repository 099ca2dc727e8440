//! Texts with placeholders: `{port}`, `{state}`, `{run}`, `{name}`.

use super::Mistake;
use super::near;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::path::Path;

/// The placeholders that every service has; no port may be called so.
pub(super) const RESERVED: [&str; 3] = ["state", "run", "name"];

/// A text with placeholders, understood once and filled in at each start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Text(String),
    Value(Placeholder),
}

/// What is filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    /// The number of one of the service's ports.
    Port(String),
    /// The service's private folder that lasts.
    State,
    /// The service's private folder of one run.
    Run,
    /// The service's name.
    Name,
}

/// Which placeholders there are where a template stands.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Allowed<'a> {
    /// The common ones, and these ports.
    Ports(&'a [String]),
    /// The common ones, and any name for a port: nothing is known of the ports.
    AnyPort,
}

/// What the placeholders stand for at one start of one service.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Values<'a> {
    pub(crate) name: &'a str,
    pub(crate) state: &'a Path,
    pub(crate) run: &'a Path,
    pub(crate) ports: &'a BTreeMap<String, u16>,
}

/// There is no number for the port of this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NoNumber(pub(crate) String);

impl fmt::Display for NoNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no number for the port `{}`", self.0)
    }
}

impl std::error::Error for NoNumber {}

impl Template {
    /// # Errors
    ///
    /// What is wrong with the text, with the bytes that are.
    pub(crate) fn parse(text: &str, allowed: Allowed<'_>) -> Result<Self, Mistake> {
        const BRACES: &str = "for a brace that is no placeholder's write {{ or }}";
        if let Some(at) = text.find('\0') {
            let what = "there is a NUL character, which no argument, variable or path can have";
            return Err(Mistake::at(at..at + 1, what, "leave it out"));
        }
        let (mut parts, mut plain, mut at) = (Vec::new(), String::new(), 0);
        while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
            let next = rest.find(['{', '}']).unwrap_or(rest.len());
            let (before, braces) = rest.split_at(next);
            plain += before;
            at += next;
            if let Some(brace) = ["{{", "}}"].iter().find(|double| braces.starts_with(**double)) {
                plain.extend(brace.chars().next());
                at += 2;
            } else if braces.starts_with('}') {
                return Err(Mistake::at(at..at + 1, "there is a } without its {", BRACES));
            } else if let Some(inner) = braces.strip_prefix('{') {
                let Some((word, _)) = inner.split_once('}') else {
                    return Err(Mistake::at(at..text.len(), "there is a { without its }", BRACES));
                };
                let span = at..at + word.len() + 2;
                let value = placeholder(word, allowed).map_err(|(what, help)| Mistake::at(span.clone(), what, help))?;
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Value(value));
                at = span.end;
            }
        }
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Self(parts))
    }

    /// The number of one port.
    pub(super) fn port(name: &str) -> Self {
        Self(vec![Part::Value(Placeholder::Port(name.to_owned()))])
    }

    /// The text, filled in. A path that is no text stays as it is.
    ///
    /// # Errors
    ///
    /// There is no number for a port.
    pub(crate) fn render(&self, values: &Values<'_>) -> Result<OsString, NoNumber> {
        let mut text = OsString::new();
        for part in &self.0 {
            match part {
                Part::Text(plain) => text.push(plain),
                Part::Value(Placeholder::Port(name)) => {
                    let number = values.ports.get(name).ok_or_else(|| NoNumber(name.clone()))?;
                    text.push(number.to_string());
                }
                Part::Value(Placeholder::State) => text.push(values.state),
                Part::Value(Placeholder::Run) => text.push(values.run),
                Part::Value(Placeholder::Name) => text.push(values.name),
            }
        }
        Ok(text)
    }

    /// The placeholders, in the order in which they come.
    pub(crate) fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.0.iter().filter_map(|part| match part {
            Part::Text(_) => None,
            Part::Value(value) => Some(value),
        })
    }

    /// As it is written in a file, but with its placeholders written as `write` has it.
    pub(crate) fn written_with(&self, write: impl Fn(&Placeholder) -> String) -> String {
        let parts = self.0.iter().map(|part| match part {
            Part::Text(plain) => plain.replace('{', "{{").replace('}', "}}"),
            Part::Value(used) => write(used),
        });
        parts.collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn placeholder(word: &str, allowed: Allowed<'_>) -> Result<Placeholder, (String, String)> {
    let ports = match (word, allowed) {
        ("state", _) => return Ok(Placeholder::State),
        ("run", _) => return Ok(Placeholder::Run),
        ("name", _) => return Ok(Placeholder::Name),
        (port, Allowed::AnyPort) if port_name(port).is_ok() => return Ok(Placeholder::Port(port.to_owned())),
        (_, Allowed::AnyPort) => &[],
        (_, Allowed::Ports(ports)) => ports,
    };
    if ports.iter().any(|port| port == word) {
        return Ok(Placeholder::Port(word.to_owned()));
    }
    let known = || ports.iter().map(String::as_str).chain(RESERVED);
    let braced = |words: Vec<&str>| {
        near::list(words.iter().map(|word| format!("{{{word}}}")).collect::<Vec<_>>().iter().map(String::as_str))
    };
    let what = format!("there is no placeholder `{{{word}}}`");
    let all = format!("there are {}", braced(known().collect()));
    let help = match near::nearest(word, known()) {
        Some(near) => format!("did you mean `{{{near}}}`? {all}"),
        None if word.is_empty() || word.contains(['{', ' ', '"', ':', ';', '\n']) => {
            format!("for a brace that is no placeholder's write {{{{ or }}}}; {all}")
        }
        None if port_name(word).is_ok() => format!("{all}; for a port of this name write ports = [\"{word}\"]"),
        None => all,
    };
    Err((what, help))
}

/// Whether a port can be called so.
pub(super) fn port_name(name: &str) -> Result<(), Mistake> {
    let help = "a port's name has 1 to 32 letters (a-z, A-Z), digits, '-' and '_', and begins with a letter";
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name == "log" {
        // Clients find ports and the log's path side by side.
        return Err(Mistake::of("a port cannot be called `log`", r#"call it "log-port", for instance"#));
    }
    if RESERVED.contains(&name) {
        let what = format!("a port cannot be called `{name}`: {{{name}}} stands for something else");
        return Err(Mistake::of(what, r#"call it "port", for instance"#));
    }
    if name.len() > 32 || !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(good) {
        return Err(Mistake::of(format!("a port cannot be called {name:?}"), help));
    }
    Ok(())
}

/// As it is written in a file.
impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written_with(|used| match used {
            Placeholder::Port(name) => format!("{{{name}}}"),
            Placeholder::State => "{state}".into(),
            Placeholder::Run => "{run}".into(),
            Placeholder::Name => "{name}".into(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(text: &str) -> Result<Template, Mistake> {
        Template::parse(text, Allowed::Ports(&["port".to_owned(), "peer-port".to_owned()]))
    }

    fn rendered(template: &Template) -> String {
        let ports = BTreeMap::from([("port".to_owned(), 4711), ("peer-port".to_owned(), 4712)]);
        let values = Values { name: "db", state: Path::new("/s s"), run: Path::new("/r"), ports: &ports };
        template.render(&values).expect("all have numbers").into_string().expect("it is text")
    }

    #[test]
    fn placeholders_are_filled_in() {
        let cases = [
            ("", ""),
            ("plain", "plain"),
            ("{port}", "4711"),
            ("{state}/data:{run}:{name}:{peer-port}{port}", "/s s/data:/r:db:47124711"),
            ("{{port}}", "{port}"),
            ("{{{port}}}", "{4711}"),
            ("${{HOME}} {{}} ü{name}ü", "${HOME} {} üdbü"),
        ];
        for (text, expected) in cases {
            assert_eq!(rendered(&parse(text).expect(text)), expected, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let braces = "for a brace that is no placeholder's write {{ or }}";
        let all = "there are `{port}`, `{peer-port}`, `{state}`, `{run}` and `{name}`";
        let cases = [
            ("a}b", 1..2, "there is a } without its {", braces.to_owned()),
            ("a{b", 1..3, "there is a { without its }", braces.to_owned()),
            ("ä{prot}", 2..8, "there is no placeholder `{prot}`", format!("did you mean `{{port}}`? {all}")),
            ("{State}", 0..7, "there is no placeholder `{State}`", format!("did you mean `{{state}}`? {all}")),
            ("x{}", 1..3, "there is no placeholder `{}`", format!("{braces}; {all}")),
            ("{ port }", 0..8, "there is no placeholder `{ port }`", format!("did you mean `{{port}}`? {all}")),
            (
                "{http}",
                0..6,
                "there is no placeholder `{http}`",
                format!("{all}; for a port of this name write ports = [\"http\"]"),
            ),
            (
                "a\0b",
                1..2,
                "there is a NUL character, which no argument, variable or path can have",
                "leave it out".to_owned(),
            ),
        ];
        for (text, span, what, help) in cases {
            assert_eq!(parse(text), Err(Mistake::at(span, what, help)), "{text}");
        }
    }

    #[test]
    fn a_port_without_a_number_is_an_error() {
        let template = Template::parse("{x}", Allowed::AnyPort).expect("any port may be");
        let values = Values { name: "", state: Path::new(""), run: Path::new(""), ports: &BTreeMap::new() };
        let error = template.render(&values).expect_err("there is none");
        assert_eq!(error.to_string(), "there is no number for the port `x`");
    }

    #[test]
    fn a_path_that_is_no_text_stays_as_it_is() {
        let template = parse("{state}/x").expect("it is one");
        let mut state = crate::sys::kit::no_text();
        let values = Values { name: "", state: Path::new(&state), run: Path::new(""), ports: &BTreeMap::new() };
        let rendered = template.render(&values).expect("no port is wanted");
        state.push("/x");
        assert_eq!(rendered, state);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(pieces in prop::collection::vec(prop_oneof![
            Just("{".to_owned()), Just("}".to_owned()), Just("{{".to_owned()), Just("}}".to_owned()),
            Just("{port}".to_owned()), Just("{run}".to_owned()), Just("{name}".to_owned()),
            prop::collection::vec(any::<char>(), 0..4).prop_map(String::from_iter),
        ], 0..12)) {
            let text = pieces.concat();
            match parse(&text) {
                Ok(template) => {
                    let written = template.to_string();
                    prop_assert_eq!(&written, &text);
                    prop_assert_eq!(parse(&written), Ok(template));
                }
                Err(mistake) => {
                    let at = mistake.at.expect("the place is known");
                    prop_assert!(text.get(at).is_some_and(|wrong| !wrong.is_empty()));
                }
            }
        }

        #[test]
        fn any_text_can_be_written(text in prop::collection::vec(any::<char>(), 0..40).prop_map(String::from_iter)) {
            let text = text.replace('\0', "");
            let escaped = text.replace('{', "{{").replace('}', "}}");
            prop_assert_eq!(rendered(&parse(&escaped).expect("no placeholder is left")), text);
        }
    }
}
