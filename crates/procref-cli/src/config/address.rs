//! Where readiness is asked for: `[HOST:]PORT`, and `http://HOST[:PORT][/PATH]`.

use std::num::NonZeroU16;

/// Host and port; without a host it is 127.0.0.1. The brackets of an IPv6 address are taken off.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn tcp_address(text: &str) -> Result<(&str, u16), String> {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (without_brackets(host)?, port),
        None => ("127.0.0.1", text),
    };
    Ok((host, number(port)?))
}

fn number(port: &str) -> Result<u16, String> {
    let digits = port.bytes().all(|byte| byte.is_ascii_digit());
    let number = port.parse().ok().filter(|_| digits).map(NonZeroU16::get);
    number.ok_or_else(|| format!("{port:?} is no port: that is a number from 1 to 65535"))
}

fn without_brackets(host: &str) -> Result<&str, String> {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    match inner {
        Some(inner) if !inner.is_empty() => Ok(inner),
        None if host.contains(':') => Err(format!("{host:?} is no host: an IPv6 address is written [{host}]")),
        None if !host.is_empty() && !host.contains(['/', '[', ']', '@', ' ']) => Ok(host),
        _ => Err(format!("{host:?} is no host")),
    }
}

/// Whether procref can ask that address by HTTP.
///
/// # Errors
///
/// What is wrong with it.
pub(super) fn http_url(url: &str) -> Result<(), String> {
    if url.starts_with("https:") {
        return Err("procref asks by http only, not by https: let `exec` call curl, for instance".into());
    }
    let rest = url.strip_prefix("http://").ok_or("this does not begin with http://")?;
    if let Some(bad) = rest.chars().find(|c| c.is_whitespace() || c.is_control()) {
        return Err(format!("a URL cannot have the character {bad:?}"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => {
            number(port)?;
            host
        }
        _ => authority,
    };
    without_brackets(host).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcp() {
        assert_eq!(tcp_address("5432"), Ok(("127.0.0.1", 5432)));
        assert_eq!(tcp_address("localhost:1"), Ok(("localhost", 1)));
        assert_eq!(tcp_address("[::1]:65535"), Ok(("::1", 65535)));
        for bad in ["", "0", "65536", "+1", "x", "a:", ":1", "::1:80", "[]:1", "a b:1", "/x:1"] {
            assert!(tcp_address(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn http() {
        for good in ["http://[::1]:8080/a?b#c", "http://h", "http://[::1]/", "http://h:65535", "http://h?x"] {
            assert_eq!(http_url(good), Ok(()), "{good:?}");
        }
        for bad in
            ["", "h", "https://h", "ftp://h", "http://", "http:///x", "http://h:x/", "http://h/a b", "http://u@h"]
        {
            assert!(http_url(bad).is_err(), "{bad:?}");
        }
    }
}
