//! Who the peer is decides what it may say about others.

use std::net::{IpAddr, SocketAddr};

use http::header::{HOST, USER_AGENT};
use http::request::Parts;
use http::uri::Authority;
use http::{HeaderMap, Uri, Version};
use ipnet::IpNet;

use super::head::twice;
use crate::Error;
use crate::config::Settings;
use crate::gateway::Caller;

/// The caller behind a request.
pub(super) fn caller(settings: &Settings, peer: Option<SocketAddr>, headers: &HeaderMap) -> Caller {
    let peer = peer.map(|peer| peer.ip().to_canonical());
    let (ip_address, through_trusted_proxy) =
        client_address(&settings.trusted_proxies, peer, headers);
    Caller {
        ip_address,
        through_trusted_proxy,
        user_agent: headers
            .get(USER_AGENT)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned),
    }
}

/// The first untrusted address from the right of `X-Forwarded-For`, if the peer is trusted; else the
/// peer. A part that is no address, whatever its bytes, ends the walk: what stands left of it cannot be judged.
fn client_address(
    trusted: &[IpNet],
    peer: Option<IpAddr>,
    headers: &HeaderMap,
) -> (Option<IpAddr>, bool) {
    let is_trusted = |address: &IpAddr| trusted.iter().any(|net| net.contains(address));
    let Some(peer) = peer.filter(is_trusted) else {
        return (peer, false);
    };
    let lines = headers.get_all("x-forwarded-for").iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    let mut nearest = peer;
    for hop in hops {
        let Some(address) = std::str::from_utf8(hop).ok().and_then(address) else {
            break;
        };
        if !is_trusted(&address) {
            return (Some(address), true);
        }
        nearest = address;
    }
    (Some(nearest), nearest != peer)
}

/// An address, with or without a port or brackets.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let parsed = bare
        .parse()
        .ok()
        .or_else(|| text.parse::<SocketAddr>().ok().map(|s| s.ip()));
    parsed.map(|address: IpAddr| address.to_canonical())
}

/// Refuses a request that does not say for which host it is, or says it in two ways (RFC 9112, section 3.2):
/// what stands in front may have read the other one.
pub(super) fn check_host(parts: &Parts) -> Result<(), Error> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(twice("host"));
    }
    let authority = parts.uri.authority().map(Authority::as_str);
    if host.is_some_and(|host| !host.to_str().is_ok_and(is_host))
        || authority.is_some_and(|authority| !is_host(authority))
    {
        return Err(Error::BadRequest("host is no host".to_owned()));
    }
    // Before HTTP/1.1 there was no such header, after it there need be none.
    if parts.version == Version::HTTP_11 && host.is_none() && authority.is_none() {
        return Err(Error::BadRequest("host is required".to_owned()));
    }
    Ok(())
}

/// This host as the browser knows it (`https://host`), for the `returnTo` of a sign-out alone: Auth0
/// holds that against its own list.
///
/// With `ORIGINAL_PROTOCOL_HEADER`, that header and `x-forwarded-host` are believed; without, it is
/// `https` and the target's host or, as a rule, the `Host`. What is no protocol or host is passed over.
pub(super) fn origin(settings: &Settings, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let first = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        value
            .split(',')
            .next()
            .map(str::trim)
            .filter(|part| !part.is_empty())
    };
    let own_host = match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    };
    let own_host = own_host.filter(|host| is_host(host));
    let (protocol, host) = match &settings.original_protocol_header {
        Some(name) => {
            let protocol = first(name).filter(|protocol| matches!(*protocol, "http" | "https"));
            (
                protocol.unwrap_or("https"),
                first("x-forwarded-host")
                    .filter(|h| is_host(h))
                    .or(own_host),
            )
        }
        None => ("https", own_host),
    };
    host.map(|host| format!("{protocol}://{host}"))
}

/// A host with or without a port. A comma is none of it: it joins what was given twice.
fn is_host(text: &str) -> bool {
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port),
        _ => (text, ""),
    };
    let is_port = port.is_empty()
        || (port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok());
    // Nearly every name there is, without the copy that the parser makes.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    is_port
        && !host.is_empty()
        && (host.bytes().all(is_plain)
            || !host.contains(',') && host.parse::<Authority>().is_ok_and(|a| a.host() == host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forwarded(values: &[impl AsRef<[u8]>]) -> HeaderMap {
        let value = |value: &[u8]| http::HeaderValue::from_bytes(value).unwrap();
        values
            .iter()
            .map(|bytes| ("x-forwarded-for".parse().unwrap(), value(bytes.as_ref())))
            .collect()
    }

    #[test]
    fn threat_1_an_untrusted_peer_says_nothing_about_others() {
        let peer = "203.0.113.9".parse().ok();
        assert_eq!(
            client_address(&[], peer, &forwarded(&["192.0.2.1"])),
            (peer, false)
        );
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        assert_eq!(
            client_address(&trusted, peer, &forwarded(&["192.0.2.1"])),
            (peer, false)
        );
    }

    #[test]
    fn the_client_is_the_first_untrusted_from_the_right() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()];
        let peer = "10.0.0.1".parse().ok();
        for (lines, client) in [
            (&["192.0.2.1"][..], "192.0.2.1"),
            (&["1.1.1.1, 192.0.2.1, 10.9.9.9"], "192.0.2.1"),
            (&["1.1.1.1", "192.0.2.1:4711,10.9.9.9"], "192.0.2.1"),
            (&["[2001:db8::1]:80, fd00::2"], "2001:db8::1"),
            (&["::ffff:192.0.2.1"], "192.0.2.1"),
            (&["1.1.1.1, unknown, 10.9.9.9"], "10.9.9.9"),
            (&[], "10.0.0.1"),
            (&["10.0.0.7"], "10.0.0.7"),
        ] {
            assert_eq!(
                client_address(&trusted, peer, &forwarded(lines)).0,
                client.parse().ok(),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn bytes_that_are_no_text_hide_no_address() {
        let trusted = ["10.0.0.0/8".parse().unwrap()];
        let peer = "10.0.0.1".parse().ok();
        for (lines, client) in [
            (&[&b"6.6.6.6"[..], b"\xff, 1.2.3.4"][..], "1.2.3.4"),
            (&[b"6.6.6.6, \xff, 1.2.3.4"], "1.2.3.4"),
            (&[b"6.6.6.6", b"1.2.3.4, \xff"], "10.0.0.1"),
            (&[b"6.6.6.6", b"\xff"], "10.0.0.1"),
            (&[b"6.6.6.6", b"\xff, 10.0.0.2"], "10.0.0.2"),
            (&[b"6.6.6.6, 1.2.3.4 \xff"], "10.0.0.1"),
        ] {
            assert_eq!(
                client_address(&trusted, peer, &forwarded(lines)).0,
                client.parse().ok(),
                "{lines:?}"
            );
        }
    }
}
