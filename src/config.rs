//! The settings of a broker: `sluice.toml`, flags above it, defaults below.
//!
//! One table (`settings`) says what exists, in which unit, with which default and limits; reading, checking, the
//! printed default file and the README's table all come from it. The expensive mistake is a setting that is
//! silently not taken, so an unknown key, a wrong unit and a value out of bounds all end the start.

// By its path, because the fuzz target takes this file in by a path of its own.
#[path = "config/cluster_settings.rs"]
mod cluster_settings;
#[path = "config/settings.rs"]
mod settings;

pub(crate) use settings::{SETTINGS, Settings};

use crate::exit_status::Failure;
use crate::units;
use cluster_settings::{CLUSTER_SETTINGS, check_voters};
use serde_json::{Map, Value};
use settings::{Kind, Setting};
use sluice_model::nearest::nearest;
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// A value given by a flag: the setting's name, the flag's name for messages, the text.
#[derive(Clone, Debug)]
pub(crate) struct Override {
    pub(crate) setting: String,
    pub(crate) origin: String,
    pub(crate) text: String,
}

/// The settings from an optional file, with `overrides` above them.
pub(crate) fn load(file: Option<&Path>, overrides: &[Override]) -> Result<Settings, Failure> {
    let Some(path) = file else { return merge(None, overrides).map_err(Failure::usage) };
    let text = std::fs::read_to_string(path).map_err(|error| {
        Failure::usage(format!("cannot read the settings file {}: {error}", path.display()))
            .remedy("sluice serve --print-config > sluice.toml, and change what you need in it")
    })?;
    merge(Some((&text, &path.display().to_string())), overrides).map_err(Failure::usage)
}

/// The settings from the text of a file and its name, with `overrides` above them. Any text may come.
pub(crate) fn merge(file: Option<(&str, &str)>, overrides: &[Override]) -> Result<Settings, String> {
    let mut values = defaults();
    if let Some((text, name)) = file {
        read_file(text, name, &mut values)?;
    }
    for given in overrides {
        let named = |wrong: String| format!("{}: {wrong}", given.origin);
        let setting = find(&given.setting).map_err(named)?;
        put(&mut values, setting, setting.read_text(&given.text).map_err(named)?);
    }
    Ok(serde_json::from_value(Value::Object(values)).expect("the table of settings and the struct agree"))
}

/// A whole settings file in which every line is a comment or states the default.
pub(crate) fn default_file() -> String {
    let mut text = String::from(
        "# Settings of `sluice serve`. Every value here is the default; delete what you do not change.\n\
         # Lengths may be written as \"256MiB\", durations as \"500ms\", \"10s\" or \"7d\"; a bare number has the unit named.\n",
    );
    for setting in every_setting() {
        text.push('\n');
        for line in wrap(setting.about, 110) {
            text.push_str(&format!("# {line}\n"));
        }
        text.push_str(&format!("# {}\n", setting.kind.describe()));
        match setting.default_toml() {
            Ok(value) => text.push_str(&format!("{} = {value}\n", setting.name)),
            Err(meaning) => text.push_str(&format!("# {} =        # not set: {meaning}\n", setting.name)),
        }
    }
    text
}

/// The table of the README, in Markdown.
#[cfg(test)]
pub(crate) fn markdown_table() -> String {
    let mut text = String::from("| setting | default | unit and limits | what it does |\n|---|---|---|---|\n");
    for setting in every_setting() {
        let default =
            setting.default_toml().map_or_else(|meaning| meaning.to_owned(), |value| format!("`{}`", value.trim_matches('"')));
        text.push_str(&format!("| `{}` | {default} | {} | {} |\n", setting.name, setting.kind.describe(), setting.about));
    }
    text
}

fn defaults() -> Map<String, Value> {
    let mut values = Map::new();
    for setting in every_setting() {
        if let Some(value) = setting.default_value() {
            values.insert(setting.name.to_owned(), value);
        }
    }
    values
}

/// Reads a settings file over `values`. Errors name the file, the line and what would be right.
fn read_file(text: &str, file: &str, values: &mut Map<String, Value>) -> Result<(), String> {
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        format!("{file}:{line}: {}", error.message())
    })?;
    for (key, value) in table.get_ref() {
        let at = |wrong: String, position: usize| format!("{file}:{}: {wrong}", line_of(text, position));
        let setting = find(key.get_ref()).map_err(|wrong| at(wrong, key.span().start))?;
        let read = match value.get_ref() {
            DeValue::String(text) => setting.read_text(text),
            DeValue::Integer(number) => setting.read_text(number.as_str()),
            DeValue::Boolean(on) if matches!(setting.kind, Kind::Switch) => setting.read_text(if *on { "true" } else { "false" }),
            DeValue::Array(entries) if matches!(setting.kind, Kind::Voters) => {
                let texts: Option<Vec<&str>> = entries.iter().map(|entry| entry.get_ref().as_str()).collect();
                let texts =
                    texts.ok_or_else(|| format!("`{}`: every entry is a text such as \"1@broker-1.example:7500\"", setting.name));
                texts.and_then(|texts| setting.read_text(&texts.join(",")))
            }
            other => Err(format!("`{}` cannot be a {}; it is {}", setting.name, other.type_str(), setting.kind.describe())),
        };
        put(values, setting, read.map_err(|wrong| at(wrong, value.span().start))?);
    }
    Ok(())
}

fn put(values: &mut Map<String, Value>, setting: &Setting, value: Value) {
    values.insert(setting.name.to_owned(), value);
}

/// Of any broker, and those of one that is one of several.
fn every_setting() -> impl Iterator<Item = &'static Setting> {
    SETTINGS.iter().chain(CLUSTER_SETTINGS)
}

fn find(name: &str) -> Result<&'static Setting, String> {
    every_setting().find(|setting| setting.name == name).ok_or_else(|| unknown(name, every_setting().map(|setting| setting.name)))
}

/// The message for a name nobody knows, with the known one it most resembles.
fn unknown(name: &str, known: impl Iterator<Item = &'static str>) -> String {
    match nearest(name, known) {
        Some(known) => format!("unknown setting `{name}`; the nearest known one is `{known}`"),
        None => format!("unknown setting `{name}`; `sluice serve --print-config` prints all there are"),
    }
}

fn line_of(text: &str, position: usize) -> usize {
    1 + text.as_bytes()[..position.min(text.len())].iter().filter(|&&byte| byte == b'\n').count()
}

fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let line = lines.last_mut().expect("there is always a line");
        if !line.is_empty() && line.len() + 1 + word.len() > width {
            lines.push(word.to_owned());
        } else {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
    }
    lines
}

impl Setting {
    /// Reads a value of this setting from text, in its unit and within its limits.
    fn read_text(&self, text: &str) -> Result<Value, String> {
        let wrong = |why: String| format!("`{}`: {why}", self.name);
        let number = match self.kind {
            Kind::Path | Kind::Address | Kind::Host | Kind::Voters | Kind::Name if text.trim().is_empty() => {
                return Err(wrong("is empty".to_owned()));
            }
            Kind::Switch => {
                return text.parse::<bool>().map(Value::from).map_err(|_| wrong(format!("{text:?} is neither true nor false")));
            }
            Kind::Path | Kind::Name => return Ok(text.into()),
            Kind::Voters => return check_voters(text).map(Value::from).map_err(wrong),
            Kind::Address => return settings::check_listen(text).map(Value::from).map_err(wrong),
            Kind::Host => return settings::check_host(text).map(Value::from).map_err(wrong),
            Kind::Count { .. } => units::parse_count(text).map_err(wrong),
            Kind::Len { .. } => units::parse_len(text).map_err(wrong),
            Kind::Millis { .. } => units::parse_millis(text).map_err(wrong),
        }?;
        let (min, max) = self.kind.limits().expect("numbers have limits");
        if number < min || number > max {
            return Err(wrong(format!("{} is outside its limits, {}", self.kind.format(number), self.kind.describe())));
        }
        Ok(number.into())
    }
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
