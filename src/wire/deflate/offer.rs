//! What a client offers in `Sec-WebSocket-Extensions`, and what is granted (RFC 6455, section 9.1; RFC 7692, section 7.1).

use std::borrow::Cow;

/// The smallest window that can be agreed on. DEFLATE has one of 2^8 bytes too, but no compressor that keeps to it.
pub const WINDOW_BITS_MIN: u8 = 9;

/// The largest window, and what is meant where none is named.
pub const WINDOW_BITS_MAX: u8 = 15;

/// How a server compresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Each message by itself, once for all who get it.
    Shared,
    /// Each client's messages as one stream, where the client lets it.
    Dedicated,
}

/// What was agreed on with a client. It compresses each of its messages by itself, whatever it offered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The client's window for what it is sent has 2^this bytes.
    pub window_bits: u8,
    /// Whether what it is sent may refer to messages before.
    pub takeover: bool,
    /// Whether the client named the window.
    names_window: bool,
}

impl Agreed {
    /// The value of `Sec-WebSocket-Extensions` in the answer.
    pub fn header(&self) -> String {
        let mut header = String::from("permessage-deflate");
        if !self.takeover {
            header.push_str("; server_no_context_takeover");
        }
        header.push_str("; client_no_context_takeover");
        if self.names_window {
            header.push_str(&format!("; server_max_window_bits={}", self.window_bits));
        }
        header
    }
}

/// A header that is no list of extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Sec-WebSocket-Extensions is no list of extensions; allowed: name; parameter; parameter=value, …")]
pub struct OfferError;

/// Grants the first offer of permessage-deflate that can be kept to; `None` where there is none. An offer with an unknown
/// parameter, one that stands twice, or a value that none may have is passed over (RFC 7692, section 7.1).
///
/// # Errors
/// A line breaks the grammar of RFC 6455, section 9.1.
pub fn agree<'a>(
    lines: impl IntoIterator<Item = &'a [u8]>,
    mode: Mode,
) -> Result<Option<Agreed>, OfferError> {
    let mut agreed = None;
    for line in lines {
        let mut cursor = Cursor(line);
        while cursor.next_element() {
            let name = cursor.token()?;
            // The grammar holds also behind what was granted.
            let offer = cursor.parameters()?;
            if agreed.is_none() && name == b"permessage-deflate" {
                agreed = offer.and_then(|offer| offer.grant(mode));
            }
        }
        if !cursor.0.is_empty() {
            return Err(OfferError);
        }
    }
    Ok(agreed)
}

/// The parameters of one offer of permessage-deflate (section 7.1).
#[derive(Clone, Copy, Debug, Default)]
struct Offer {
    server_no_context_takeover: bool,
    client_no_context_takeover: bool,
    server_max_window_bits: Option<u8>,
    client_max_window_bits: bool,
}

impl Offer {
    /// Takes a parameter; `false` where an offer with it is to be passed over.
    fn take(&mut self, name: &[u8], value: Option<&[u8]>) -> bool {
        let before = match name {
            b"server_no_context_takeover" if value.is_none() => {
                std::mem::replace(&mut self.server_no_context_takeover, true)
            }
            b"client_no_context_takeover" if value.is_none() => {
                std::mem::replace(&mut self.client_no_context_takeover, true)
            }
            b"server_max_window_bits" => match value.and_then(window_bits) {
                Some(bits) => self.server_max_window_bits.replace(bits).is_some(),
                None => return false,
            },
            // What the client's own window is does not matter: whatever it sends is inflated with the largest.
            b"client_max_window_bits" if value.is_none_or(|value| window_bits(value).is_some()) => {
                std::mem::replace(&mut self.client_max_window_bits, true)
            }
            _ => return false,
        };
        !before
    }

    fn grant(self, mode: Mode) -> Option<Agreed> {
        let window_bits = self.server_max_window_bits.unwrap_or(WINDOW_BITS_MAX);
        (window_bits >= WINDOW_BITS_MIN).then_some(Agreed {
            window_bits,
            takeover: mode == Mode::Dedicated && !self.server_no_context_takeover,
            names_window: self.server_max_window_bits.is_some(),
        })
    }
}

/// 8 to 15 without leading zeros (section 7.1.2).
fn window_bits(value: &[u8]) -> Option<u8> {
    match value {
        [digit @ b'8'..=b'9'] => Some(digit - b'0'),
        [b'1', digit @ b'0'..=b'5'] => Some(10 + digit - b'0'),
        _ => None,
    }
}

/// What is left of a line.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    /// Goes to the next element of the list; elements may be empty. `false` at the end.
    fn next_element(&mut self) -> bool {
        while self.skip(b',') {}
        !self.0.is_empty()
    }

    /// Passes over spaces, and one such byte if it is there.
    fn skip(&mut self, byte: u8) -> bool {
        self.0 = self.0.trim_ascii_start();
        let rest = self.0.strip_prefix(&[byte]);
        self.0 = rest.unwrap_or(self.0);
        rest.is_some()
    }

    fn token(&mut self) -> Result<&'a [u8], OfferError> {
        self.0 = self.0.trim_ascii_start();
        let length = self.0.iter().take_while(|byte| is_token(**byte)).count();
        let (token, rest) = self.0.split_at(length);
        self.0 = rest;
        if token.is_empty() { Err(OfferError) } else { Ok(token) }
    }

    /// The parameters of an extension, up to the end of the element; `None` where an offer with them is to be passed over.
    fn parameters(&mut self) -> Result<Option<Offer>, OfferError> {
        let (mut offer, mut is_known) = (Offer::default(), true);
        while self.skip(b';') {
            let name = self.token()?;
            let value = if self.skip(b'=') { Some(self.value()?) } else { None };
            is_known &= offer.take(name, value.as_deref());
        }
        self.0 = self.0.trim_ascii_start();
        match self.0.first() {
            None | Some(b',') => Ok(is_known.then_some(offer)),
            Some(_) => Err(OfferError),
        }
    }

    /// A token, or one in quotes.
    fn value(&mut self) -> Result<Cow<'a, [u8]>, OfferError> {
        if !self.skip(b'"') {
            return self.token().map(Cow::Borrowed);
        }
        let mut value = Vec::new();
        loop {
            let (&byte, rest) = self.0.split_first().ok_or(OfferError)?;
            self.0 = rest;
            match byte {
                b'"' => break,
                b'\\' => {
                    let (&escaped, rest) = self.0.split_first().ok_or(OfferError)?;
                    self.0 = rest;
                    value.push(escaped);
                }
                byte => value.push(byte),
            }
        }
        let is_token = !value.is_empty() && value.iter().all(|byte| is_token(*byte));
        if is_token { Ok(Cow::Owned(value)) } else { Err(OfferError) }
    }
}

/// RFC 2616, section 2.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(&byte)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(lines: &[&str], mode: Mode) -> Result<Option<String>, OfferError> {
        Ok(agree(lines.iter().map(|line| line.as_bytes()), mode)?.map(|agreed| agreed.header()))
    }

    /// What is answered in shared mode.
    fn shared(line: &str) -> Result<Option<String>, OfferError> {
        answer(&[line], Mode::Shared)
    }

    const BOTH: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

    #[test]
    fn what_can_be_kept_to_is_granted() {
        for offer in [
            "permessage-deflate",
            "permessage-deflate; client_max_window_bits",
            "permessage-deflate;client_max_window_bits=8",
            "permessage-deflate; client_max_window_bits=\"12\"; client_no_context_takeover",
            "permessage-deflate; server_no_context_takeover",
            " permessage-deflate ; server_no_context_takeover ;\tclient_no_context_takeover ",
            "x-webkit-deflate-frame, permessage-deflate",
            ", ,permessage-deflate,,",
            "permessage-bzip2; q=\"a\\b\", permessage-deflate, foo",
        ] {
            assert_eq!(shared(offer), Ok(Some(BOTH.into())), "{offer}");
        }
        for bits in 9..=15 {
            for offer in
                [format!("server_max_window_bits={bits}"), format!("server_max_window_bits = \"{bits}\"")]
            {
                let expected = format!("{BOTH}; server_max_window_bits={bits}");
                assert_eq!(shared(&format!("permessage-deflate; {offer}")), Ok(Some(expected)));
            }
        }
    }

    #[test]
    fn an_offer_that_cannot_be_kept_to_is_passed_over_and_the_next_considered() {
        for parameter in [
            "server_max_window_bits=8",
            "server_max_window_bits",
            "server_max_window_bits=7",
            "server_max_window_bits=16",
            "server_max_window_bits=010",
            "server_max_window_bits=9.0",
            "server_max_window_bits=+9",
            "server_max_window_bits=10; server_max_window_bits=10",
            "client_max_window_bits=7",
            "client_max_window_bits=16",
            "client_max_window_bits=08",
            "client_max_window_bits; client_max_window_bits=10",
            "server_no_context_takeover=true",
            "server_no_context_takeover; server_no_context_takeover",
            "client_no_context_takeover=\"1\"",
            "client_no_context_takeover; client_no_context_takeover",
            "client_no_context_takeover; window=10",
            "Server_no_context_takeover",
        ] {
            assert_eq!(shared(&format!("permessage-deflate; {parameter}")), Ok(None), "{parameter}");
            let offers =
                format!("permessage-deflate; {parameter}, permessage-deflate; server_max_window_bits=9");
            assert_eq!(shared(&offers), Ok(Some(format!("{BOTH}; server_max_window_bits=9"))), "{parameter}");
            let lines = [&format!("permessage-deflate; {parameter}")[..], "permessage-deflate"];
            assert_eq!(answer(&lines, Mode::Shared), Ok(Some(BOTH.into())), "on two lines: {parameter}");
        }
        for none in ["", ",", "foo", "permessage-deflate2", "permessage-Deflate"] {
            assert_eq!(shared(none), Ok(None), "{none}");
        }
    }

    #[test]
    fn the_first_offer_that_can_be_kept_to_wins() {
        let offers = "permessage-deflate; server_max_window_bits=11, permessage-deflate";
        assert_eq!(shared(offers), Ok(Some(format!("{BOTH}; server_max_window_bits=11"))));
    }

    #[test]
    fn a_context_is_kept_only_in_dedicated_mode_and_where_the_client_lets_it() {
        let dedicated = |line| answer(&[line], Mode::Dedicated).unwrap().unwrap();
        assert_eq!(dedicated("permessage-deflate"), "permessage-deflate; client_no_context_takeover");
        assert_eq!(
            dedicated("permessage-deflate; server_max_window_bits=10"),
            "permessage-deflate; client_no_context_takeover; server_max_window_bits=10"
        );
        assert_eq!(dedicated("permessage-deflate; server_no_context_takeover"), BOTH);
    }

    #[test]
    fn what_is_no_list_is_an_error() {
        for broken in [
            ";",
            "=",
            "permessage-deflate;",
            "permessage-deflate; ;",
            "permessage-deflate; =1",
            "permessage-deflate; server_max_window_bits=",
            "permessage-deflate; server_max_window_bits=\"10",
            "permessage-deflate; server_max_window_bits=\"\"",
            "permessage-deflate; server_max_window_bits=\"1 0\"",
            "permessage-deflate; server_max_window_bits=\"10\\",
            "permessage-deflate server_max_window_bits",
            "permessage-deflate; server_max_window_bits=10 11",
            "permessage/deflate",
            "permessage-deflate, \"foo\"",
            "permessage-d\u{e9}flate",
            "permessage-deflate; x=\u{0}",
        ] {
            assert_eq!(shared(broken), Err(OfferError), "{broken:?}");
        }
        assert!(answer(&["permessage-deflate", "a b"], Mode::Shared).is_err(), "behind what was granted");
    }

    proptest! {
        /// Noise is refused or understood; it never hangs or panics, and what is granted is what can be kept to.
        #[test]
        fn noise_is_no_danger(line in "[ -~]{0,60}|(permessage-deflate|[;=,\" ]|server_max_window_bits|1[0-9]|[a-z]){0,12}") {
            if let Ok(Some(agreed)) = agree([line.as_bytes()], Mode::Dedicated) {
                prop_assert!((WINDOW_BITS_MIN..=WINDOW_BITS_MAX).contains(&agreed.window_bits));
                prop_assert!(line.contains("permessage-deflate"));
            }
        }
    }
}
