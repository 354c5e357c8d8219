//! Who sees what. A role's rules are compiled into every plan: its session knows no table and no column that it may not
//! see, and its scans leave out the rows of others, whichever door the question came through.

use crate::{
    error::{QueryError, Result},
    measured::Measure,
    tables::Dataset,
};
use anyhow::{Context, bail, ensure};
use processor::{measure::Width, model::bucket::HOUR};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

/// What holds where no file says otherwise.
const DEFAULT: &str = include_str!("policy/default.toml");
/// A policy is a page; a larger file is something else.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Sees everything; what everybody is where nobody has to say who they are.
pub const OPERATOR: &str = "operator";
/// Whoever it may be: never sees what is personal, whatever a file says.
pub const PUBLIC: &str = "public";

/// Of local days, when clocks are put forward.
const SHORTEST_DAY: i64 = 23 * HOUR;

/// Columns that tell of one reading, or of its moment: hidden where only wider steps of time are shown.
const OF_ONE_READING: [&str; 5] = ["first", "first_time", "last", "last_time", "state"];

/// The roles of a city.
#[derive(Debug)]
pub struct Policy {
    roles: BTreeMap<String, Arc<Rules>>,
}

/// What one role sees. Nothing that is not named.
#[derive(Clone, Debug)]
pub struct Rules {
    role: String,
    datasets: Which,
    classes: BTreeSet<Class>,
    owners: Which,
    /// With all that is part of them.
    zones: Which,
    /// (dataset, column); `*` is any dataset.
    hidden: BTreeSet<(String, String)>,
    /// The finest step of time.
    width_s: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Which {
    All,
    These(BTreeSet<String>),
}

/// The privacy class of a sensor, from the least to the strictest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Class {
    Public,
    Internal,
    Personal,
}

/// What decides who sees a sensor, over all of its rows in the registry: a change of owner shows nobody the other's past.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Traits {
    pub class: Class,
    pub owners: BTreeSet<Option<String>>,
    /// Of each row its zone, and what that is part of.
    pub zones: BTreeSet<Vec<String>>,
}

impl std::hash::Hash for Class {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (*self as u8).hash(state);
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    roles: BTreeMap<String, Given>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    datasets: Names,
    #[serde(default = "public_only")]
    classes: BTreeSet<Class>,
    #[serde(default = "Names::all")]
    owners: Names,
    #[serde(default = "Names::all")]
    zones: Names,
    #[serde(default)]
    hide: Vec<String>,
    #[serde(default)]
    width: Option<String>,
}

/// `"all"`, or a list.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    Word(String),
    List(BTreeSet<String>),
}

impl Default for Names {
    fn default() -> Self {
        Self::List(BTreeSet::new())
    }
}

impl Names {
    fn all() -> Self {
        Self::Word("all".into())
    }

    fn which(self) -> anyhow::Result<Which> {
        match self {
            Self::List(names) => Ok(Which::These(names)),
            Self::Word(word) if word == "all" => Ok(Which::All),
            Self::Word(word) => bail!("{word:?}: expected \"all\" or a list such as [\"{word}\"]"),
        }
    }
}

fn public_only() -> BTreeSet<Class> {
    [Class::Public].into()
}

impl Policy {
    /// The rules of a file, or those that hold without one.
    ///
    /// # Errors
    /// The file cannot be read, or is no policy: the message says where and what was expected.
    pub fn load(file: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = file else { return Self::parse(DEFAULT) };
        let bytes =
            std::fs::metadata(path).with_context(|| format!("read the policy {}", path.display()))?.len();
        ensure!(bytes <= FILE_BYTES_MAX, "{}: a policy has at most {FILE_BYTES_MAX} B", path.display());
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("the policy {}", path.display()))
    }

    fn parse(text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)?;
        let mut roles = BTreeMap::new();
        for (name, given) in file.roles {
            let rules = Rules::of(&name, given).with_context(|| format!("role {name:?}"))?;
            roles.insert(name, Arc::new(rules));
        }
        Ok(Self { roles })
    }

    /// # Errors
    /// No such role: it sees nothing.
    pub fn rules(&self, role: &str) -> Result<&Arc<Rules>> {
        self.roles.get(role).ok_or_else(|| {
            let names: Vec<_> = self.roles.keys().map(String::as_str).collect();
            QueryError::Denied(format!("the policy has no role {role:?}; it has {}", names.join(", ")))
        })
    }

    pub fn roles(&self) -> impl Iterator<Item = &Arc<Rules>> {
        self.roles.values()
    }
}

impl Rules {
    fn of(name: &str, given: Given) -> anyhow::Result<Self> {
        ensure!(
            name != PUBLIC || !given.classes.contains(&Class::Personal),
            "classes: what is personal is never shown to {PUBLIC}"
        );
        let datasets = given.datasets.which().context("datasets")?;
        if let Which::These(names) = &datasets {
            let unknown = names.iter().find(|name| !known(name));
            ensure!(unknown.is_none(), "datasets: there is no {:?}", unknown.map_or("", String::as_str));
        }
        let width_s = match given.width.as_deref().map(str::parse::<jiff::SignedDuration>) {
            None => 0,
            Some(Ok(width)) if width.is_positive() => u32::try_from(width.as_secs()).unwrap_or(u32::MAX),
            Some(_) => bail!("width: expected e.g. \"15m\" or \"1h\""),
        };
        let hide = |text: String| match text.split_once('.') {
            Some((dataset, column)) => (dataset.to_owned(), column.to_owned()),
            None => ("*".to_owned(), text),
        };
        Ok(Self {
            role: name.to_owned(),
            datasets,
            classes: given.classes,
            owners: given.owners.which().context("owners")?,
            zones: given.zones.which().context("zones")?,
            hidden: given.hide.into_iter().map(hide).collect(),
            width_s,
        })
    }

    pub fn role(&self) -> &str {
        &self.role
    }

    /// Whether no sensor is hidden.
    pub fn sees_all(&self) -> bool {
        let classes = [Class::Public, Class::Internal, Class::Personal];
        self.owners == Which::All
            && self.zones == Which::All
            && classes.iter().all(|class| self.classes.contains(class))
    }

    /// Whether a dataset is shown at all, whose finest step of time is `grain_s`.
    pub fn shows(&self, dataset: &str, grain_s: Option<u32>) -> bool {
        self.datasets.has(dataset) && grain_s.is_none_or(|grain_s| self.width_s <= grain_s)
    }

    /// Whether a column of a dataset is shown.
    pub fn shows_column(&self, dataset: &str, column: &str) -> bool {
        let hidden = |dataset: &str| self.hidden.contains(&(dataset.to_owned(), column.to_owned()));
        let too_fine = 0 < self.width_s && OF_ONE_READING.contains(&column);
        !hidden(dataset) && !hidden("*") && !too_fine
    }

    /// # Errors
    /// A step of time that is finer than the role sees; or that is not so many of its steps, as the difference of two such
    /// steps would be finer.
    pub fn check_width(&self, width: Width) -> Result<()> {
        let finest = i64::from(self.width_s) * 1_000_000;
        let fits = match width {
            Width::Micros(micros) => finest == 0 || 0 < micros && micros % finest == 0,
            Width::Days => finest <= SHORTEST_DAY,
        };
        match fits {
            true => Ok(()),
            false => Err(QueryError::Denied(format!(
                "role {} sees steps of {} s, or of a multiple: ask for such",
                self.role, self.width_s
            ))),
        }
    }

    /// Whether a sensor is shown; one that the registry does not know is as personal as can be.
    pub fn sees(&self, traits: Option<&Traits>) -> bool {
        if self.sees_all() {
            return true;
        }
        traits.is_some_and(|traits| {
            self.classes.contains(&traits.class)
                && traits.owners.iter().all(|owner| self.owners.has_one(owner.as_slice()))
                && traits.zones.iter().all(|zones| self.zones.has_one(zones))
        })
    }

    /// Whether a zone is shown, by itself and what it is part of.
    pub fn sees_zone(&self, zones: &[String]) -> bool {
        self.zones.has_one(zones)
    }

    #[cfg(test)]
    pub fn operator() -> Self {
        Self::parse(OPERATOR, "datasets = 'all'\nclasses = ['public', 'internal', 'personal']")
            .expect("rules")
    }

    #[cfg(test)]
    pub fn parse(role: &str, text: &str) -> anyhow::Result<Self> {
        Self::of(role, toml::from_str(text)?)
    }
}

impl Which {
    fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::These(names) => names.contains(name),
        }
    }

    fn has_one(&self, names: &[String]) -> bool {
        match self {
            Self::All => true,
            Self::These(known) => names.iter().any(|name| known.contains(name)),
        }
    }
}

fn known(dataset: &str) -> bool {
    Dataset::named(dataset).is_some() || Measure::named(dataset).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::ALL;

    fn traits(class: Class, owner: Option<&str>, zones: &[&str]) -> Traits {
        let zones = zones.iter().map(|zone| (*zone).to_owned()).collect();
        Traits { class, owners: [owner.map(String::from)].into(), zones: [zones].into() }
    }

    #[test]
    fn what_holds_without_a_file_is_read_and_denies_by_default() {
        let policy = Policy::load(None).unwrap();
        assert!(policy.rules(OPERATOR).unwrap().sees_all());
        for dataset in ALL {
            assert!(policy.rules(OPERATOR).unwrap().shows(dataset.name, dataset.grain_s), "{}", dataset.name);
        }
        assert!(matches!(policy.rules("nobody"), Err(QueryError::Denied(_))));
        let public = policy.rules(PUBLIC).unwrap();
        assert!(!public.shows("reading", Some(0)) && !public.shows("rejection", None));
        assert!(!public.sees(Some(&traits(Class::Personal, None, &[]))));
        assert!(!public.sees(None), "what nobody knows");
        for role in ["planner", "analyst"] {
            assert!(!policy.rules(role).unwrap().sees(Some(&traits(Class::Personal, None, &[]))), "{role}");
        }
    }

    #[test]
    fn a_role_sees_what_is_named_and_nothing_else() {
        let rules = Rules::parse(
            "water",
            "datasets = ['reading', 'sensor', 'rollup_1h']\nclasses = ['public', 'internal']\nowners = ['water works']\n\
             zones = ['north']\nhide = ['sensor.serial', 'received_at']",
        )
        .unwrap();
        assert!(rules.shows("reading", Some(0)) && !rules.shows("event", Some(0)));
        assert!(!rules.shows_column("sensor", "serial") && rules.shows_column("sensor", "name"));
        assert!(!rules.shows_column("reading", "received_at"));
        assert!(rules.sees(Some(&traits(Class::Internal, Some("water works"), &["DMA-1", "north"]))));
        assert!(!rules.sees(Some(&traits(Class::Personal, Some("water works"), &["north"]))));
        assert!(!rules.sees(Some(&traits(Class::Public, Some("roads"), &["north"]))));
        assert!(!rules.sees(Some(&traits(Class::Public, None, &["north"]))));
        assert!(!rules.sees(Some(&traits(Class::Public, Some("water works"), &["south"]))));
        let mut moved = traits(Class::Public, Some("water works"), &["north"]);
        moved.owners.insert(Some("roads".into()));
        assert!(!rules.sees(Some(&moved)), "the other owner's past is there, too");
    }

    #[test]
    fn a_wider_step_hides_what_tells_of_one_reading() {
        let rules = Rules::parse("public", "datasets = 'all'\nwidth = '1h'").unwrap();
        assert!(!rules.shows("reading", Some(0)) && !rules.shows("rollup_5m", Some(300)));
        assert!(rules.shows("rollup_1h", Some(3600)) && rules.shows("segment", None));
        for column in OF_ONE_READING {
            assert!(!rules.shows_column("rollup_1h", column), "{column}");
        }
        assert!([900, 3660].iter().all(|s| rules.check_width(Width::Micros(s * 1_000_000)).is_err()));
        let hours = |hours: i64| rules.check_width(Width::Micros(hours * HOUR));
        assert!(hours(1).is_ok() && hours(3).is_ok() && rules.check_width(Width::Days).is_ok());
    }

    #[test]
    fn a_wrong_policy_says_what_was_expected() {
        for (text, word) in [
            ("[roles.public]\nclasses = ['personal']", "never shown"),
            ("[roles.a]\ndatasets = 'most'", "\"all\" or a list"),
            ("[roles.a]\ndatasets = ['readings']", "readings"),
            ("[roles.a]\nwidth = 'wide'", "15m"),
            ("[roles.a]\nrole = 1", "unknown field"),
            ("roles = 1", "invalid type"),
        ] {
            let error = format!("{:#}", Policy::parse(text).unwrap_err());
            assert!(error.contains(word), "{text}: {error}");
        }
    }
}
