//! How Kafka is had: its jars and theirs from Maven's registry, through Maven; and what a data folder is made into before the
//! first start.

use std::fs;
use std::path::Path;
use std::process::Command;

use sluice_bench::BenchError;
use sluice_bench::error::at;

use super::VERSION;
use super::server_files::{SERVER_PROPERTIES, java_arguments};
use crate::peer::{Say, StartPlan};
use crate::tools::run;

const LOG4J_VERSION: &str = "2.25.1";
/// The broker's least.
const JAVA_MIN: u32 = 17;
const GET_JAVA: &str = "apt-get install openjdk-17-jre-headless gets it";
const GET_MAVEN: &str = "apt-get install maven gets it";
const TRY_AGAIN: &str = "Maven needs its registry: look at its settings (~/.m2/settings.xml) and try again";
/// Any 16 bytes in URL-safe base64: folders of different benchmarks never meet.
const CLUSTER_ID: &str = "c2x1aWNlLWJlbmNoLWthZg";

/// Fills `into` with `libs`.
pub(super) fn install(into: &Path, say: Say<'_>) -> Result<(), BenchError> {
    check_java()?;
    let mut maven = Command::new("mvn");
    maven.arg("--version");
    run(maven, GET_MAVEN)?;
    let pom_path = into.join("pom.xml");
    fs::write(&pom_path, pom()).map_err(at(&pom_path))?;
    say("its jars, about a hundred of them (150 MB), come through Maven: a minute or two");
    let mut maven = Command::new("mvn");
    maven
        .args(["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime"])
        .current_dir(into);
    run(maven, TRY_AGAIN)?;
    let jar = into.join(format!("libs/kafka_2.13-{VERSION}.jar"));
    if jar.is_file() {
        return Ok(());
    }
    Err(BenchError::Option { problem: format!("Maven ended well, and there is no {}", jar.display()) })
}

/// # Errors When there is no Java, or one that is too old for Kafka.
pub(super) fn check_java() -> Result<(), BenchError> {
    let mut java = Command::new("java");
    java.arg("--version");
    let said = run(java, GET_JAVA)?;
    match major_version(&said) {
        Some(major) if major >= JAVA_MIN => Ok(()),
        _ => {
            let first = said.lines().next().unwrap_or_default();
            Err(BenchError::Option {
                problem: format!("Kafka {VERSION} needs Java {JAVA_MIN} or newer, and this is {first:?}: {GET_JAVA}"),
            })
        }
    }
}

/// `openjdk 17.0.15 2025-04-15` is 17.
fn major_version(said: &str) -> Option<u32> {
    let version = said.lines().next()?.split_whitespace().nth(1)?;
    version.split(['.', '-', '+']).next()?.parse().ok()
}

/// Gives the data folder its identity, and the controller its quorum of one.
pub(super) fn format_storage(plan: &StartPlan<'_>) -> Result<(), BenchError> {
    let mut java = Command::new("java");
    java.args(java_arguments(plan.installed, "kafka.tools.StorageTool"));
    java.args(["format", "-t", CLUSTER_ID, "-c", SERVER_PROPERTIES, "--standalone"]).current_dir(plan.data_dir);
    run(java, "the broker's data folder could not be prepared").map(|_| ())
}

fn pom() -> String {
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION),
        dependency("org.apache.logging.log4j", "log4j-core", LOG4J_VERSION),
    ];
    format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n\
         <groupId>sluice.bench</groupId><artifactId>kafka</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n{}</dependencies>\n</project>\n",
        dependencies.concat()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_jars_are_those_of_one_version() {
        let pom = pom();
        assert_eq!(pom.matches(&format!("<version>{VERSION}</version>")).count(), 2);
        assert_eq!(pom.matches("<dependency>").count(), pom.matches("</dependency>").count());
    }

    #[test]
    fn java_is_known_by_its_major_version() {
        assert_eq!(major_version("openjdk 17.0.15 2025-04-15\nOpenJDK Runtime"), Some(17));
        assert_eq!(major_version("openjdk 21-ea 2023-09-19"), Some(21));
        assert_eq!(major_version("java 25 2025-09-16 LTS"), Some(25));
        assert_eq!(major_version("no Java at all"), None);
    }

    #[test]
    fn the_cluster_id_is_sixteen_bytes() {
        let is_base64 = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        assert!(CLUSTER_ID.len() == 22 && CLUSTER_ID.chars().all(is_base64));
    }
}
