//! Passwords that do not reach a log.

use std::fmt;

/// A password: shown to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// For the one that it is meant for.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// An address without the password in it: a URL, or key=value pairs. Of one that is not well formed it shows less rather
/// than more.
pub fn masked(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        // What follows may be quoted in ways of its own: all of it goes.
        return match address.find("password") {
            Some(at) => format!("{}password=***", &address[..at]),
            None => address.to_owned(),
        };
    };
    // The last @: a password may hold one, and even a slash.
    let (login, place) = rest.rsplit_once('@').unwrap_or(("", rest));
    let user = login.split(':').next().unwrap_or_default();
    let at = if user.is_empty() { "" } else { "@" };
    let (place, query) = place.split_once('?').map_or((place, None), |(place, query)| (place, Some(query)));
    let kept = |query: &str| {
        let pairs: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("password=")).collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    };
    format!("{scheme}://{user}{at}{place}{}", query.map(kept).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown() {
        assert_eq!(format!("{:?}", Some(Secret::new("hunter2"))), "Some(***)");
    }

    #[test]
    fn an_address_is_shown_without_its_password() {
        for (given, shown) in [
            ("mqtt://gate:secret@broker:1883", "mqtt://gate@broker:1883"),
            ("mqtt://gate:sec@ret@broker:1883", "mqtt://gate@broker:1883"),
            ("mqtt://127.0.0.1:1883", "mqtt://127.0.0.1:1883"),
            ("postgres://u:secret@db/city?sslmode=require", "postgres://u@db/city?sslmode=require"),
            ("postgres:///city?host=/run/pg", "postgres:///city?host=/run/pg"),
            ("mqtt://:secret@broker", "mqtt://broker"),
            ("mqtt://gate:not/encoded@broker", "mqtt://gate@broker"),
            ("postgres://db/city?user=u&password=secret", "postgres://db/city?user=u"),
            ("host=db password='my secret' dbname=city", "host=db password=***"),
            ("host=db user=u", "host=db user=u"),
        ] {
            assert_eq!(masked(given), shown);
        }
    }
}
