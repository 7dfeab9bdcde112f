//! Who the peer is decides what it may say about others.

use std::net::{IpAddr, SocketAddr};

use http::HeaderMap;
use http::header::{HOST, USER_AGENT};
use http::uri::Authority;
use ipnet::IpNet;

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

/// This host as the browser knows it (`https://host`), for the `returnTo` of a sign-out alone: Auth0
/// holds that against its own list.
///
/// With `ORIGINAL_PROTOCOL_HEADER`, that header and `x-forwarded-host` are believed; without, it is
/// `https` and the `Host`. What is no protocol or host is passed over.
pub(super) fn origin(settings: &Settings, headers: &HeaderMap) -> Option<String> {
    let first = |name: &str| {
        let value = headers.get(name)?.to_str().ok()?;
        value
            .split(',')
            .next()
            .map(str::trim)
            .filter(|part| !part.is_empty())
    };
    let own_host = first(HOST.as_str()).filter(|host| is_host(host));
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

fn is_host(text: &str) -> bool {
    !text.contains('@')
        && text
            .parse::<Authority>()
            .is_ok_and(|authority| !authority.host().is_empty())
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
