//! Every kind of mistake, and what is said about it, word for word.

use super::*;

/// Pairs of a file and what is said about it; both begin on a line of their own.
fn check(cases: &[(&str, &str)]) {
    for (text, expected) in cases {
        let trimmed = |text: &str| text.strip_prefix('\n').unwrap_or(text).to_owned();
        let said = match parse(Place::Project, &trimmed(text)) {
            Ok(services) => panic!("nothing is found wrong with this:\n{text}\n{services:?}"),
            Err(problems) => format!("{problems}\n"),
        };
        let expected = on_this_system(&trimmed(expected));
        assert_eq!(said, expected, "{said}");
    }
}

#[test]
fn no_toml() {
    check(&[
        (
            r#"
[services.db]
command = ["a"
"#,
            r#"
procref.toml:2:15: this is not TOML: unclosed array, expected `]`
 2 | command = ["a"
   |               ^
"#,
        ),
        (
            r#"
[services.db]
command = [a]
"#,
            r#"
procref.toml:2:12: this is not TOML: string values must be quoted, expected literal string
 2 | command = [a]
   |            ^
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
command = ["a"]
"#,
            r#"
procref.toml:3:1: this is not TOML: duplicate key
 3 | command = ["a"]
   | ^^^^^^^
   = each key and each table may come once
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
[services.db]
command = ["a"]
"#,
            r#"
procref.toml:3:11: this is not TOML: duplicate key
 3 | [services.db]
   |           ^^
   = each key and each table may come once

procref.toml:4:1: this is not TOML: duplicate key
 4 | command = ["a"]
   | ^^^^^^^
   = each key and each table may come once

2 errors
"#,
        ),
        (
            r#"
x
y = 
[services.db
"#,
            r#"
procref.toml:1:2: this is not TOML: key with no value, expected `=`
 1 | x
   |  ^

procref.toml:3:13: this is not TOML: unclosed table, expected `]`
 3 | [services.db
   |             ^

2 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["\q"]
"#,
            r#"
procref.toml:2:14: this is not TOML: missing escaped value, expected `b`, `e`, `f`, `n`, `r`, `\`, `"`, `x`, `u`, `U`
 2 | command = ["\q"]
   |              ^
   = backslashes stand for themselves in single quotes: 'C:\folder'; in others they are written twice
"#,
        ),
        (
            r#"
[services.db]
linger = 30s
command = ["a"]
"#,
            r#"
procref.toml:2:10: this is not TOML: string values must be quoted, expected literal string
 2 | linger = 30s
   |          ^^^
"#,
        ),
    ]);
}

#[test]
fn at_the_top() {
    check(&[
        (
            r#"
service = 1
"#,
            r#"
procref.toml:1:1: there is no key `service` here
 1 | service = 1
   | ^^^^^^^
   = did you mean `services`?
"#,
        ),
        (
            r#"
colour = "red"
"#,
            r#"
procref.toml:1:1: there is no key `colour` here
 1 | colour = "red"
   | ^^^^^^
   = all there is at the top is [services.NAME]
"#,
        ),
        (
            r#"
[db]
command = ["a"]
"#,
            r#"
procref.toml:1:2: there is no key `db` here
 1 | [db]
   |  ^^
   = a service is declared as [services.db]
"#,
        ),
        (
            r#"
services = []
"#,
            r#"
procref.toml:1:12: `services` is an array, and must be a table
 1 | services = []
   |            ^^
   = a service is declared as [services.NAME], and its keys follow
"#,
        ),
        (
            r#"
[services]
db = "postgres"
"#,
            r#"
procref.toml:2:6: `services.db` is a string, and must be a table
 2 | db = "postgres"
   |      ^^^^^^^^^^
   = write [services.db] and below it, for instance, command = ["program", "argument"]
"#,
        ),
        (
            r#"
[service.db]
command = ["a"]
"#,
            r#"
procref.toml:1:2: there is no key `service` here
 1 | [service.db]
   |  ^^^^^^^
   = did you mean `services`?
"#,
        ),
    ]);
}

#[test]
fn names_of_services() {
    check(&[
        (
            r#"
[services."a b"]
command = ["a"]
"#,
            r#"
procref.toml:1:11: a service's name cannot have the character ' '
 1 | [services."a b"]
   |           ^^^^^
   = a name has 1 to 64 letters (a-z, A-Z), digits, '-', '_' and '.', and does not begin with '.'
"#,
        ),
        (
            r#"
[services.""]
command = ["a"]
"#,
            r#"
procref.toml:1:11: a service needs a name, and this one is empty
 1 | [services.""]
   |           ^^
   = a name has 1 to 64 letters (a-z, A-Z), digits, '-', '_' and '.', and does not begin with '.'
"#,
        ),
        (
            r#"
[services.".a"]
command = ["a"]
"#,
            r#"
procref.toml:1:11: a service's name cannot begin with a dot
 1 | [services.".a"]
   |           ^^^^
   = a name has 1 to 64 letters (a-z, A-Z), digits, '-', '_' and '.', and does not begin with '.'
"#,
        ),
        (
            r#"
[services.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]
command = ["a"]
"#,
            r#"
procref.toml:1:11: a service's name cannot have 65 characters
 1 | [services.xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx]
   |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = a name has 1 to 64 letters (a-z, A-Z), digits, '-', '_' and '.', and does not begin with '.'
"#,
        ),
        (
            r#"
[services.v1.2]
command = ["a"]
"#,
            r#"
procref.toml:1:14: a service has no key `2`
 1 | [services.v1.2]
   |              ^
   = the keys of a service are `preset`, `command`, `prepare`, `ports`, `ready`, `stop`, `linger`, `env`, `service_env`, `dir`, `log`, `needs` and `scope`; a name with a dot is quoted: [services."v1.2"]
"#,
        ),
    ]);
}

#[test]
fn unknown_keys() {
    check(&[
        (
            r#"
[services.db]
comand = ["a"]
"#,
            r#"
procref.toml:2:1: a service has no key `comand`
 2 | comand = ["a"]
   | ^^^^^^
   = did you mean `command`?
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
Linger = "3s"
"#,
            r#"
procref.toml:3:1: a service has no key `Linger`
 3 | Linger = "3s"
   | ^^^^^^
   = did you mean `linger`?
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
service-env = {}
"#,
            r#"
procref.toml:3:1: a service has no key `service-env`
 3 | service-env = {}
   | ^^^^^^^^^^^
   = did you mean `service_env`?
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
environment = {}
"#,
            r#"
procref.toml:3:1: a service has no key `environment`
 3 | environment = {}
   | ^^^^^^^^^^^
   = `env` has the variables for the clients, `service_env` those for the service itself
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
enviroment = {}
"#,
            r#"
procref.toml:3:1: a service has no key `enviroment`
 3 | enviroment = {}
   | ^^^^^^^^^^
   = `env` has the variables for the clients, `service_env` those for the service itself
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
depends_on = []
"#,
            r#"
procref.toml:3:1: a service has no key `depends_on`
 3 | depends_on = []
   | ^^^^^^^^^^
   = the services that it needs are `needs`
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
timeout = "3s"
"#,
            r#"
procref.toml:3:1: a service has no key `timeout`
 3 | timeout = "3s"
   | ^^^^^^^
   = the time that a start may take is in `ready`: ready = { tcp = "{port}", timeout = "30s" }
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
restart = true
"#,
            r#"
procref.toml:3:1: a service has no key `restart`
 3 | restart = true
   | ^^^^^^^
   = a service is started when somebody wants it, not when it has ended
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
colour = "red"
"#,
            r#"
procref.toml:3:1: a service has no key `colour`
 3 | colour = "red"
   | ^^^^^^
   = the keys of a service are `preset`, `command`, `prepare`, `ports`, `ready`, `stop`, `linger`, `env`, `service_env`, `dir`, `log`, `needs` and `scope`
"#,
        ),
    ]);
}

#[test]
fn commands() {
    check(&[
        (
            r#"
[services.db]
"#,
            r#"
procref.toml:1:11: the service `db` has no `command`
 1 | [services.db]
   |           ^^
   = write command = ["program", "argument"], or preset = "postgres" for a service that procref knows
"#,
        ),
        (
            r#"
[services.db]
command = "redis-server --port 1"
"#,
            r#"
procref.toml:2:11: `command` is a string, and must be an array of strings
 2 | command = "redis-server --port 1"
   |           ^^^^^^^^^^^^^^^^^^^^^^^
   = write command = ["redis-server", "--port", "1"]; only with ["sh", "-c", "…"] does a shell read it
"#,
        ),
        (
            r#"
[services.db]
command = "a | b"
"#,
            r#"
procref.toml:2:11: `command` is a string, and must be an array of strings
 2 | command = "a | b"
   |           ^^^^^^^
   = write command = ["program", "argument"]; only with ["sh", "-c", "…"] does a shell read it
"#,
        ),
        (
            r#"
[services.db]
command = 1
"#,
            r#"
procref.toml:2:11: `command` is an integer, and must be an array of strings
 2 | command = 1
   |           ^
   = write command = ["program", "argument"]
"#,
        ),
        (
            r#"
[services.db]
command = []
"#,
            r#"
procref.toml:2:11: `command` is empty, and must have a program
 2 | command = []
   |           ^^
   = write command = ["program", "argument"]
"#,
        ),
        (
            r#"
[services.db]
command = [""]
"#,
            r#"
procref.toml:2:12: the program of `command` is empty
 2 | command = [""]
   |            ^^
   = the first string is the program
"#,
        ),
        (
            r#"
[services.db]
command = ["a", 5432, true]
"#,
            r#"
procref.toml:2:17: an argument of `command` is an integer, and must be a string
 2 | command = ["a", 5432, true]
   |                 ^^^^
   = write "5432"

procref.toml:2:23: an argument of `command` is a boolean, and must be a string
 2 | command = ["a", 5432, true]
   |                       ^^^^
   = write "true"

2 errors
"#,
        ),
        (
            r#"
[services.db]
command = [["a"]]
"#,
            r#"
procref.toml:2:12: an argument of `command` is an array, and must be a string
 2 | command = [["a"]]
   |            ^^^^^
   = `command` is one command; `prepare` has several
"#,
        ),
        (
            r#"
[services.db]
command = ["a", ["b"]]
"#,
            r#"
procref.toml:2:17: an argument of `command` is an array, and must be a string
 2 | command = ["a", ["b"]]
   |                 ^^^^^
   = `command` is one command; `prepare` has several
"#,
        ),
        (
            r#"
[services.db]
command = ["a\u0000"]
"#,
            r#"
procref.toml:2:12: there is a NUL character, which no argument, variable or path can have
 2 | command = ["a\u0000"]
   |            ^^^^^^^^^
   = leave it out
"#,
        ),
    ]);
}

#[test]
fn preparations() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
prepare = "initdb -D x"
"#,
            r#"
procref.toml:3:11: `prepare` is a string, and must be an array of arrays of strings
 3 | prepare = "initdb -D x"
   |           ^^^^^^^^^^^^^
   = write prepare = [["initdb", "-D", "x"]]; only with ["sh", "-c", "…"] does a shell read it
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
prepare = ["initdb", "-D", "x"]
"#,
            r#"
procref.toml:3:12: a command of `prepare` is a string, and must be an array of strings
 3 | prepare = ["initdb", "-D", "x"]
   |            ^^^^^^^^
   = `prepare` is an array of commands: prepare = [["program", "argument"], ["another"]]; write prepare = [["initdb", "-D", "x"]]
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
prepare = ["initdb", ["x"]]
"#,
            r#"
procref.toml:3:12: a command of `prepare` is a string, and must be an array of strings
 3 | prepare = ["initdb", ["x"]]
   |            ^^^^^^^^
   = `prepare` is an array of commands: prepare = [["program", "argument"], ["another"]]
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
prepare = [[], ["b"], [""], 1]
"#,
            r#"
procref.toml:3:12: a command of `prepare` is empty, and must have a program
 3 | prepare = [[], ["b"], [""], 1]
   |            ^^
   = write ["program", "argument"]

procref.toml:3:24: the program of a command of `prepare` is empty
 3 | prepare = [[], ["b"], [""], 1]
   |                        ^^
   = the first string is the program

procref.toml:3:29: a command of `prepare` is an integer, and must be an array of strings
 3 | prepare = [[], ["b"], [""], 1]
   |                             ^
   = write ["program", "argument"]

3 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["a", "{port}"]
prepare = [["a", "--port={port}"]]
ports = ["port"]
"#,
            r#"
procref.toml:3:26: `{port}` is another number at each start, and what stands here outlasts a start
 3 | prepare = [["a", "--port={port}"]]
   |                          ^^^^^^
   = write it into `command` or `service_env`, or fix the number: ports = [{ port = 5432 }]
"#,
        ),
    ]);
}

#[test]
fn ports() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
ports = "port"
"#,
            r#"
procref.toml:3:9: `ports` is a string, and must be an array
 3 | ports = "port"
   |         ^^^^^^
   = write ports = ["port"] for a free one, ports = [{ port = 5432 }] for a fixed one
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ports = { port = 5432 }
"#,
            r#"
procref.toml:3:9: `ports` is a table, and must be an array
 3 | ports = { port = 5432 }
   |         ^^^^^^^^^^^^^^^
   = write ports = ["port"] for a free one, ports = [{ port = 5432 }] for a fixed one
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ports = [5432, {}, true]
"#,
            r#"
procref.toml:3:10: a port is an integer, and must be a name, or a table of a name and a number
 3 | ports = [5432, {}, true]
   |          ^^^^
   = every port has a name: { port = 5432 }

procref.toml:3:16: this has no port
 3 | ports = [5432, {}, true]
   |                ^^
   = write ports = ["port"] for a free one, ports = [{ port = 5432 }] for a fixed one

procref.toml:3:20: a port is a boolean, and must be a name, or a table of a name and a number
 3 | ports = [5432, {}, true]
   |                    ^^^^
   = write ports = ["port"] for a free one, ports = [{ port = 5432 }] for a fixed one

3 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ports = [{ port = 0 }, { b = 65536 }, { c = "5432" }, { d = -1 }]
"#,
            r#"
procref.toml:3:19: 0 is no port: those go from 1 to 65535
 3 | ports = [{ port = 0 }, { b = 65536 }, { c = "5432" }, { d = -1 }]
   |                   ^
   = write { port = 5432 }, or "port" alone to have a free one picked

procref.toml:3:30: 65536 is no port: those go from 1 to 65535
 3 | ports = [{ port = 0 }, { b = 65536 }, { c = "5432" }, { d = -1 }]
   |                              ^^^^^
   = write { b = 5432 }, or "b" alone to have a free one picked

procref.toml:3:45: the port `c` is a string, and must be a number
 3 | ports = [{ port = 0 }, { b = 65536 }, { c = "5432" }, { d = -1 }]
   |                                             ^^^^^^
   = write { c = 5432 }, or "c" alone to have a free one picked

procref.toml:3:61: -1 is no port: those go from 1 to 65535
 3 | ports = [{ port = 0 }, { b = 65536 }, { c = "5432" }, { d = -1 }]
   |                                                             ^^
   = write { d = 5432 }, or "d" alone to have a free one picked

4 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ports = ["", "1a", "a b", "state"]
"#,
            r#"
procref.toml:3:10: a port cannot be called ""
 3 | ports = ["", "1a", "a b", "state"]
   |          ^^
   = a port's name has 1 to 32 letters (a-z, A-Z), digits, '-' and '_', and begins with a letter

procref.toml:3:14: a port cannot be called "1a"
 3 | ports = ["", "1a", "a b", "state"]
   |              ^^^^
   = a port's name has 1 to 32 letters (a-z, A-Z), digits, '-' and '_', and begins with a letter

procref.toml:3:20: a port cannot be called "a b"
 3 | ports = ["", "1a", "a b", "state"]
   |                    ^^^^^
   = a port's name has 1 to 32 letters (a-z, A-Z), digits, '-' and '_', and begins with a letter

procref.toml:3:27: a port cannot be called `state`: {state} stands for something else
 3 | ports = ["", "1a", "a b", "state"]
   |                           ^^^^^^^
   = call it "port", for instance

4 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ports = [{ a = 1 }, { a = 2 }, { b = 1 }]
"#,
            r#"
procref.toml:3:23: there are two ports `a`
 3 | ports = [{ a = 1 }, { a = 2 }, { b = 1 }]
   |                       ^
   = give each its own name

procref.toml:3:34: the ports `a` and `b` have the same number
 3 | ports = [{ a = 1 }, { a = 2 }, { b = 1 }]
   |                                  ^
   = give each its own number

2 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["a", "{port}", "{peer}"]
ports = ["port", "peer", "third"]
"#,
            r#"
procref.toml:3:26: the service is never told the number of its port `third`
 3 | ports = ["port", "peer", "third"]
   |                          ^^^^^^^
   = write {third} where `command` or `service_env` is to have it, or { third = 5432 } for a fixed number
"#,
        ),
    ]);
}

#[test]
fn placeholders() {
    check(&[
        (
            r#"
[services.db]
command = ["a", "--port={prot}"]
ports = ["port"]
"#,
            r#"
procref.toml:2:25: there is no placeholder `{prot}`
 2 | command = ["a", "--port={prot}"]
   |                         ^^^^^^
   = did you mean `{port}`? there are `{port}`, `{state}`, `{run}` and `{name}`
"#,
        ),
        (
            r#"
[services.db]
command = ["a", "{port}"]
"#,
            r#"
procref.toml:2:18: there is no placeholder `{port}`
 2 | command = ["a", "{port}"]
   |                  ^^^^^^
   = there are `{state}`, `{run}` and `{name}`; for a port of this name write ports = ["port"]
"#,
        ),
        (
            r#"
[services.db]
command = ["sh", "-c", "{ echo; }"]
"#,
            r#"
procref.toml:2:25: there is no placeholder `{ echo; }`
 2 | command = ["sh", "-c", "{ echo; }"]
   |                         ^^^^^^^^^
   = for a brace that is no placeholder's write {{ or }}; there are `{state}`, `{run}` and `{name}`
"#,
        ),
        (
            r#"
[services.db]
command = ["sh", "-c", "echo {"]
"#,
            r#"
procref.toml:2:30: there is a { without its }
 2 | command = ["sh", "-c", "echo {"]
   |                              ^
   = for a brace that is no placeholder's write {{ or }}
"#,
        ),
        (
            r#"
[services.db]
command = ["sh", "-c", "echo }"]
"#,
            r#"
procref.toml:2:30: there is a } without its {
 2 | command = ["sh", "-c", "echo }"]
   |                              ^
   = for a brace that is no placeholder's write {{ or }}
"#,
        ),
        (
            r#"
[services.db]
command = ['''
  ä
  {prot}
''', "\t{x}"]
ports = [{ port = 1 }]
"#,
            r#"
procref.toml:4:3: there is no placeholder `{prot}`
 4 |   {prot}
   |   ^^^^^^
   = did you mean `{port}`? there are `{port}`, `{state}`, `{run}` and `{name}`

procref.toml:5:6: there is no placeholder `{x}`
 5 | ''', "\t{x}"]
   |      ^^^^^^^
   = there are `{port}`, `{state}`, `{run}` and `{name}`; for a port of this name write ports = ["x"]

2 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
env = { URL = "{nmae}" }
"#,
            r#"
procref.toml:3:16: there is no placeholder `{nmae}`
 3 | env = { URL = "{nmae}" }
   |                ^^^^^^
   = did you mean `{name}`? there are `{state}`, `{run}` and `{name}`
"#,
        ),
    ]);
}

#[test]
fn readiness() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
ready = "5432"
"#,
            r#"
procref.toml:3:9: `ready` is a string, and must be a table
 3 | ready = "5432"
   |         ^^^^^^
   = write ready = { tcp = "{port}", timeout = "30s" }
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = {}
"#,
            r#"
procref.toml:3:9: `ready` does not say how to know that it is ready
 3 | ready = {}
   |         ^^
   = it has one of `tcp`, `unix`, `http`, `exec`, `log` and `notify`: write ready = { tcp = "{port}", timeout = "30s" }
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { timeout = "3s" }
"#,
            r#"
procref.toml:3:9: `ready` does not say how to know that it is ready
 3 | ready = { timeout = "3s" }
   |         ^^^^^^^^^^^^^^^^^^
   = it has one of `tcp`, `unix`, `http`, `exec`, `log` and `notify`: write ready = { tcp = "{port}", timeout = "30s" }
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { tpc = "1" }
"#,
            r#"
procref.toml:3:11: `ready` has no key `tpc`
 3 | ready = { tpc = "1" }
   |           ^^^
   = did you mean `tcp`?
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { tcp = "1", http = "http://h" }
"#,
            r#"
procref.toml:3:22: `ready` has both `tcp` and `http`
 3 | ready = { tcp = "1", http = "http://h" }
   |                      ^^^^
   = it has exactly one of `tcp`, `unix`, `http`, `exec`, `log` and `notify`
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { tcp = 5432 }
"#,
            r#"
procref.toml:3:17: `ready.tcp` is an integer, and must be a string
 3 | ready = { tcp = 5432 }
   |                 ^^^^
   = write tcp = "{port}", or "HOST:PORT" for another address than 127.0.0.1
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { tcp = "localhost" }
"#,
            r#"
procref.toml:3:17: `ready.tcp` cannot be asked: "localhost" is no port: that is a number from 1 to 65535
 3 | ready = { tcp = "localhost" }
   |                 ^^^^^^^^^^^
   = write tcp = "{port}", or "HOST:PORT" for another address than 127.0.0.1
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { tcp = "::1:80" }
"#,
            r#"
procref.toml:3:17: `ready.tcp` cannot be asked: "::1" is no host: an IPv6 address is written [::1]
 3 | ready = { tcp = "::1:80" }
   |                 ^^^^^^^^
   = write tcp = "{port}", or "HOST:PORT" for another address than 127.0.0.1
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { tcp = "70000" }
"#,
            r#"
procref.toml:3:17: `ready.tcp` cannot be asked: "70000" is no port: that is a number from 1 to 65535
 3 | ready = { tcp = "70000" }
   |                 ^^^^^^^
   = write tcp = "{port}", or "HOST:PORT" for another address than 127.0.0.1
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { http = "https://127.0.0.1/" }
"#,
            r#"
procref.toml:3:18: `ready.http` cannot be asked: procref asks by http only, not by https: let `exec` call curl, for instance
 3 | ready = { http = "https://127.0.0.1/" }
   |                  ^^^^^^^^^^^^^^^^^^^^
   = write http = "http://127.0.0.1:{port}/health", for instance
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { http = "127.0.0.1:80" }
"#,
            r#"
procref.toml:3:18: `ready.http` cannot be asked: this does not begin with http://
 3 | ready = { http = "127.0.0.1:80" }
   |                  ^^^^^^^^^^^^^^
   = write http = "http://127.0.0.1:{port}/health", for instance
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { unix = "" }
"#,
            r#"
procref.toml:3:18: `ready.unix` is empty, and must be a path
 3 | ready = { unix = "" }
   |                  ^^
   = leave it out, or write a path
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { exec = "pg_isready -q" }
"#,
            r#"
procref.toml:3:18: `ready.exec` is a string, and must be an array of strings
 3 | ready = { exec = "pg_isready -q" }
   |                  ^^^^^^^^^^^^^^^
   = write exec = ["pg_isready", "-q"]; only with ["sh", "-c", "…"] does a shell read it
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { log = "" }
"#,
            r#"
procref.toml:3:17: `ready.log` is empty
 3 | ready = { log = "" }
   |                 ^^
   = write what the line has in it that says that it is ready
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { notify = false }
"#,
            r#"
procref.toml:3:20: `ready.notify` is false, which says nothing
 3 | ready = { notify = false }
   |                    ^^^^^
   = leave it out, and name another one of `tcp`, `unix`, `http`, `exec`, `log` and `notify`
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { notify = "yes" }
"#,
            r#"
procref.toml:3:20: `ready.notify` is a string, and must be true
 3 | ready = { notify = "yes" }
   |                    ^^^^^
   = write ready = { notify = true }
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { notify = true, timeout = "0s" }
"#,
            r#"
procref.toml:3:36: `ready.timeout` is 0: no service is ready so soon
 3 | ready = { notify = true, timeout = "0s" }
   |                                    ^^^^
   = leave it out: a minute is the default
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
ready = { notify = true, timeuot = "1s" }
"#,
            r#"
procref.toml:3:26: `ready` has no key `timeuot`
 3 | ready = { notify = true, timeuot = "1s" }
   |                          ^^^^^^^
   = did you mean `timeout`?
"#,
        ),
    ]);
}

#[test]
fn stopping() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
stop = "SIGINT"
"#,
            r#"
procref.toml:3:8: `stop` is a string, and must be a table
 3 | stop = "SIGINT"
   |        ^^^^^^^^
   = write stop = { signal = "SIGTERM", grace = "10s" }
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
stop = { signal = "SIGINTT" }
"#,
            r#"
procref.toml:3:19: a service cannot be asked to stop by the signal "SIGINTT"
 3 | stop = { signal = "SIGINTT" }
   |                   ^^^^^^^^^
   = did you mean `SIGINT`? there are `SIGTERM`, `SIGINT`, `SIGQUIT`, `SIGHUP`, `SIGUSR1` and `SIGUSR2`
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
stop = { signal = "sigint" }
"#,
            r#"
procref.toml:3:19: a service cannot be asked to stop by the signal "sigint"
 3 | stop = { signal = "sigint" }
   |                   ^^^^^^^^
   = did you mean `SIGINT`? there are `SIGTERM`, `SIGINT`, `SIGQUIT`, `SIGHUP`, `SIGUSR1` and `SIGUSR2`
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
stop = { signal = "KILL" }
"#,
            r#"
procref.toml:3:19: SIGKILL always comes last, when the grace is over
 3 | stop = { signal = "KILL" }
   |                   ^^^^^^
   = leave it out, or write stop = { grace = "0s" } to have it come at once
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
stop = { signal = 2 }
"#,
            r#"
procref.toml:3:19: `stop.signal` is an integer, and must be a signal's name
 3 | stop = { signal = 2 }
   |                   ^
   = write "SIGTERM", for instance; there are `SIGTERM`, `SIGINT`, `SIGQUIT`, `SIGHUP`, `SIGUSR1` and `SIGUSR2`
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
stop = { signal = "SIGINT", command = ["b"] }
"#,
            r#"
procref.toml:3:29: `stop` has both `signal` and `command`
 3 | stop = { signal = "SIGINT", command = ["b"] }
   |                             ^^^^^^^
   = it is asked to stop by one of them; SIGKILL comes after the grace in any case
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
stop = { command = "pg_ctl stop" }
"#,
            r#"
procref.toml:3:20: `stop.command` is a string, and must be an array of strings
 3 | stop = { command = "pg_ctl stop" }
   |                    ^^^^^^^^^^^^^
   = write command = ["pg_ctl", "stop"]; only with ["sh", "-c", "…"] does a shell read it
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
stop = { signal = "INT", graze = "1s" }
"#,
            r#"
procref.toml:3:26: `stop` has no key `graze`
 3 | stop = { signal = "INT", graze = "1s" }
   |                          ^^^^^
   = did you mean `grace`?
"#,
        ),
    ]);
}

#[test]
fn lengths_of_time() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
linger = 30
"#,
            r#"
procref.toml:3:10: `linger` is an integer, and must be a string with a unit
 3 | linger = 30
   |          ^^
   = write "30s" for seconds, "30ms" for milliseconds
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
linger = 1.5
"#,
            r#"
procref.toml:3:10: `linger` is a float, and must be a string with a unit
 3 | linger = 1.5
   |          ^^^
   = write "30s" for seconds, "30ms" for milliseconds
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
linger = true
"#,
            r#"
procref.toml:3:10: `linger` is a boolean, and must be a string, such as "30s"
 3 | linger = true
   |          ^^^^
   = the units are d, h, m, s and ms
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
linger = ""
"#,
            r#"
procref.toml:3:10: this is empty, and must be a length of time
 3 | linger = ""
   |          ^^
   = write numbers with their units, the longest first: "30s", "500ms", "2m", "1h30m" (d, h, m, s and ms)
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
linger = "30"
"#,
            r#"
procref.toml:3:10: "30" has no unit
 3 | linger = "30"
   |          ^^^^
   = write "30s" for seconds, "30ms" for milliseconds
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
linger = "-1s"
"#,
            r#"
procref.toml:3:10: "-1s" is negative, and a length of time cannot be
 3 | linger = "-1s"
   |          ^^^^^
   = write numbers with their units, the longest first: "30s", "500ms", "2m", "1h30m" (d, h, m, s and ms)
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
linger = "30 seconds"
"#,
            r#"
procref.toml:3:10: "30 seconds" has the unit "seconds", which is written "s"
 3 | linger = "30 seconds"
   |          ^^^^^^^^^^^^
   = write "30s"
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
linger = "1.5s"
"#,
            r#"
procref.toml:3:10: "1.5s" has a fraction
 3 | linger = "1.5s"
   |          ^^^^^^
   = write "1500ms" for 1.5 seconds
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
linger = "500d"
"#,
            r#"
procref.toml:3:10: "500d" is too long
 3 | linger = "500d"
   |          ^^^^^^
   = a year, which is "366d", is the most
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
stop = { grace = "soon" }
"#,
            r#"
procref.toml:3:18: "soon" is no length of time
 3 | stop = { grace = "soon" }
   |                  ^^^^^^
   = write numbers with their units, the longest first: "30s", "500ms", "2m", "1h30m" (d, h, m, s and ms)
"#,
        ),
    ]);
}

#[test]
fn variables() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
env = ["A=b"]
"#,
            r#"
procref.toml:3:7: `env` is an array, and must be a table
 3 | env = ["A=b"]
   |       ^^^^^^^
   = write env = { NAME = "value" }
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
env = { PORT = 5432, "A=B" = "c", "" = "d" }
"#,
            r#"
procref.toml:3:16: `env.PORT` is an integer, and must be a string
 3 | env = { PORT = 5432, "A=B" = "c", "" = "d" }
   |                ^^^^
   = write "5432"

procref.toml:3:22: a variable cannot be called "A=B"
 3 | env = { PORT = 5432, "A=B" = "c", "" = "d" }
   |                      ^^^^^
   = it has at least one character, and neither '=' nor NUL

procref.toml:3:35: a variable cannot be called ""
 3 | env = { PORT = 5432, "A=B" = "c", "" = "d" }
   |                                   ^^
   = it has at least one character, and neither '=' nor NUL

3 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
service_env = { DEBUG = true, LIST = ["a"] }
"#,
            r#"
procref.toml:3:25: `service_env.DEBUG` is a boolean, and must be a string
 3 | service_env = { DEBUG = true, LIST = ["a"] }
   |                         ^^^^
   = write "true"

procref.toml:3:38: `service_env.LIST` is an array, and must be a string
 3 | service_env = { DEBUG = true, LIST = ["a"] }
   |                                      ^^^^^

2 errors
"#,
        ),
    ]);
}

#[test]
fn paths() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
dir = ""
"#,
            r#"
procref.toml:3:7: `dir` is empty, and must be a path
 3 | dir = ""
   |       ^^
   = leave it out, or write a path
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
log = 1
"#,
            r#"
procref.toml:3:7: `log` is an integer, and must be a string
 3 | log = 1
   |       ^
   = write "1"
"#,
        ),
        (
            r#"
[services.db]
command = ["a", "{port}"]
ports = ["port"]
log = "/tmp/{port}.log"
"#,
            r#"
procref.toml:4:13: `{port}` is another number at each start, and what stands here outlasts a start
 4 | log = "/tmp/{port}.log"
   |             ^^^^^^
   = write it into `command` or `service_env`, or fix the number: ports = [{ port = 5432 }]
"#,
        ),
    ]);
}

#[test]
fn scopes() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
scope = "projekt"
"#,
            r#"
procref.toml:3:9: there is no scope "projekt"
 3 | scope = "projekt"
   |         ^^^^^^^^^
   = did you mean `project`? there are `project`, `user` and `run`
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
scope = "machine"
"#,
            r#"
procref.toml:3:9: there is no scope "machine"
 3 | scope = "machine"
   |         ^^^^^^^^^
   = there are `project`, `user` and `run`
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
scope = 1
"#,
            r#"
procref.toml:3:9: `scope` is an integer, and must be a string
 3 | scope = 1
   |         ^
   = there are `project`, `user` and `run`
"#,
        ),
    ]);
}

#[test]
fn needs() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
needs = "cache"
"#,
            r#"
procref.toml:3:9: `needs` is a string, and must be an array of services' names
 3 | needs = "cache"
   |         ^^^^^^^
   = write needs = ["other"]
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
needs = [1, "a", "a"]
[services.a]
command = ["a"]
"#,
            r#"
procref.toml:3:10: an entry of `needs` is an integer, and must be a service's name
 3 | needs = [1, "a", "a"]
   |          ^
   = write needs = ["other"]

procref.toml:3:18: `a` is listed twice
 3 | needs = [1, "a", "a"]
   |                  ^^^
   = once is enough

2 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
needs = ["cahce"]
[services.cache]
command = ["a"]
"#,
            r#"
procref.toml:3:10: there is no service `cahce`
 3 | needs = ["cahce"]
   |          ^^^^^^^
   = did you mean `cache`?
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
needs = ["other"]
"#,
            r#"
procref.toml:3:10: there is no service `other`
 3 | needs = ["other"]
   |          ^^^^^^^
   = declare it as [services.other], here or in the user's own procref.toml
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
needs = ["db"]
"#,
            r#"
procref.toml:3:10: `db` would have to run before itself: db -> db
 3 | needs = ["db"]
   |          ^^^^
   = leave out one of these needs
"#,
        ),
        (
            r#"
[services.a]
command = ["a"]
needs = ["b"]
[services.b]
command = ["a"]
needs = ["c"]
[services.c]
command = ["a"]
needs = ["d", "a"]
[services.d]
command = ["a"]
needs = ["b"]
"#,
            r#"
procref.toml:9:15: `a` would have to run before itself: a -> b -> c -> a
 9 | needs = ["d", "a"]
   |               ^^^
   = leave out one of these needs

procref.toml:12:10: `b` would have to run before itself: b -> c -> d -> b
 12 | needs = ["b"]
    |          ^^^
    = leave out one of these needs

2 errors
"#,
        ),
        (
            r#"
[services.db]
command = ["a"]
scope = "user"
needs = ["a"]
[services.a]
command = ["a"]
"#,
            r#"
procref.toml:4:10: `db` has the scope "user" and needs `a`, which has only "project"
 4 | needs = ["a"]
   |          ^^^
   = a service cannot be shared by more than what it needs
"#,
        ),
    ]);
}

#[test]
fn long_lines_and_odd_characters() {
    check(&[
        (
            r#"
[services.db]
command = ["a"]
env = { A = "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", B = "{no}", C = "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy" }
"#,
            r#"
procref.toml:3:172: there is no placeholder `{no}`
 3 | …xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", B = "{no}", C = "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy…
   |                                          ^^^^
   = there are `{state}`, `{run}` and `{name}`; for a port of this name write ports = ["no"]
"#,
        ),
        (
            "[services.db]\n\tcommand = [ \"ü\",\t\"{ä}\" ]\r\n",
            r#"
procref.toml:2:20: there is no placeholder `{ä}`
 2 |  command = [ "ü", "{ä}" ]
   |                    ^^^
   = there are `{state}`, `{run}` and `{name}`
"#,
        ),
        (
            r#"
[services.db]
command = ["{\u001b[31m}", "{xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}"]
"a\nb" = 1
"#,
            r#"
procref.toml:2:12: there is no placeholder `{�[31m}`
 2 | command = ["{\u001b[31m}", "{xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
   |            ^^^^^^^^^^^^^^
   = there are `{state}`, `{run}` and `{name}`

procref.toml:2:29: there is no placeholder `{xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
 2 | command = ["{\u001b[31m}", "{xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx…
   |                             ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
   = there are `{state}`, `{run}` and `{name}`

procref.toml:3:1: a service has no key `a�b`
 3 | "a\nb" = 1
   | ^^^^^^
   = the keys of a service are `preset`, `command`, `prepare`, `ports`, `ready`, `stop`, `linger`, `env`, `service_env`, `dir`, `log`, `needs` and `scope`

3 errors
"#,
        ),
        (
            "[services.db]\ncommand = [\"a\"]\ncomm\u{1b}and = 1\n",
            r#"
procref.toml:3:5: this is not TOML: invalid unquoted key, expected letters, numbers, `-`, `_`
 3 | comm�and = 1
   |     ^
"#,
        ),
    ]);
}

#[test]
fn presets() {
    check(&[
        (
            r#"
[services.db]
preset = "postgress"
"#,
            r#"
procref.toml:2:10: there is no preset "postgress"
 2 | preset = "postgress"
   |          ^^^^^^^^^^^
   = did you mean `postgres`? there are `postgres`, `redis`, `nats`, `nginx`, `memcached`, `mariadb`, `etcd` and `mosquitto`
"#,
        ),
        (
            r#"
[services.db]
preset = ["postgres"]
linger = 30
"#,
            r#"
procref.toml:2:10: `preset` is an array, and must be a string
 2 | preset = ["postgres"]
   |          ^^^^^^^^^^^^
   = there are `postgres`, `redis`, `nats`, `nginx`, `memcached`, `mariadb`, `etcd` and `mosquitto`

procref.toml:3:10: `linger` is an integer, and must be a string with a unit
 3 | linger = 30
   |          ^^
   = write "30s" for seconds, "30ms" for milliseconds

2 errors
"#,
        ),
        (
            r#"
[services.db]
Preset = "postgres"
"#,
            r#"
procref.toml:2:1: a service has no key `Preset`
 2 | Preset = "postgres"
   | ^^^^^^
   = did you mean `preset`?
"#,
        ),
        (
            r#"
[services.db]
template = "postgres"
"#,
            r#"
procref.toml:2:1: a service has no key `template`
 2 | template = "postgres"
   | ^^^^^^^^
   = a service that procref knows is `preset`
"#,
        ),
        (
            r#"
[services.db]
preset = "redis"
ports = ["main"]
"#,
            r#"
procref.toml:3:9: the preset "redis" names its port `port` in `command`, and `ports` has none of this name
 3 | ports = ["main"]
   |         ^^^^^^^^
   = keep the name `port`, or write `command` as well
"#,
        ),
        (
            r#"
[services.db]
preset = "redis"
command = ["redis-server"]
"#,
            r#"
procref.toml:3:11: the service is never told the number of its port `port`
 3 | command = ["redis-server"]
   |           ^^^^^^^^^^^^^^^^
   = write {port} where `command` or `service_env` is to have it, or { port = 5432 } for a fixed number
"#,
        ),
        (
            r#"
[services.db]
preset = "redis"
env = { URL = "{prot}" }
"#,
            r#"
procref.toml:3:16: there is no placeholder `{prot}`
 3 | env = { URL = "{prot}" }
   |                ^^^^^^
   = did you mean `{port}`? there are `{port}`, `{state}`, `{run}` and `{name}`
"#,
        ),
    ]);
}

#[test]
fn what_is_another_one_at_each_start() {
    check(&[(
        r#"
[services.db]
command = ["a"]
dir = "{run}/x"
log = "a/{run}"
ports = [{ log = 1 }]
"#,
        r#"
procref.toml:3:8: `{run}` is removed when the service has stopped, and what stands here outlasts that
 3 | dir = "{run}/x"
   |        ^^^^^
   = write {state}, or another path

procref.toml:4:10: `{run}` is removed when the service has stopped, and what stands here outlasts that
 4 | log = "a/{run}"
   |          ^^^^^
   = write {state}, or another path

procref.toml:5:12: a port cannot be called `log`
 5 | ports = [{ log = 1 }]
   |            ^^^
   = call it "log-port", for instance

3 errors
"#,
    )]);
}
