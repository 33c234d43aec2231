//! What a replica runs: the manifest's command, with the environment that a container would get.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use catnap_crds::{Function, names};
use serde_json::Value;

/// Namespace of a local Function whose manifest names none.
const DEFAULT_NAMESPACE: &str = "default";

/// Fields of the container `function` in `podTemplate` that would make another program, or tell it something else.
const OF_THE_PROGRAM: [&str; 6] = ["args", "command", "env", "envFrom", "lifecycle", "workingDir"];

/// A command with its surroundings, ready to be started any number of times.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// Namespace of the Function.
    pub(crate) namespace: String,
    /// Name of the Function.
    pub(crate) function: String,
    /// Name of its only revision.
    pub(crate) revision: String,
    /// The file to execute.
    pub(crate) file: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
    /// Time between SIGTERM and SIGKILL.
    pub(crate) grace: Duration,
}

/// Why a manifest cannot be run without a cluster. Each says what to do.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(crate) enum ProgramError {
    /// There is nothing to start.
    #[error(
        "spec.command is missing: `catnap dev` starts a local process, not the image. Add the program and its arguments, \
         for example `command: [./server]` or `command: [python3, app.py]`; the image's entry point is not known here"
    )]
    NoCommand,
    /// A value that only kubelet could find.
    #[error(
        "spec.env: {name} takes its value from the cluster (valueFrom), which is not there. Give it a plain `value`, or keep a \
         manifest of its own for local runs"
    )]
    ValueFrom {
        /// The variable.
        name: String,
    },
    /// Values that only kubelet could find.
    #[error(
        "spec.envFrom takes variables from the cluster, which is not there. List them in spec.env with plain values, or keep a \
         manifest of its own for local runs"
    )]
    EnvFrom,
    /// Something about the program that only pods would be told.
    #[error(
        "spec.podTemplate sets {field} of the container `function`, and only a pod has a podTemplate. Say it in spec.command, \
         spec.args or spec.env, or keep a manifest of its own for local runs"
    )]
    PodTemplate {
        /// The container's field.
        field: &'static str,
    },
    /// The command names no program.
    #[error(
        "spec.command: `{command}` is not a program {place}. Build or install it first, or write its path"
    )]
    NotFound {
        /// What the manifest says.
        command: String,
        /// Where it was looked for.
        place: String,
    },
}

impl Program {
    /// What `function` runs, from the folder of its manifest; programs without a slash are found on `search_path`.
    pub(crate) fn new(
        function: &Function,
        folder: &Path,
        search_path: Option<&OsStr>,
    ) -> Result<Self, ProgramError> {
        let spec = &function.spec;
        let (command, arguments) = spec.command.split_first().ok_or(ProgramError::NoCommand)?;
        if !spec.env_from.is_empty() {
            return Err(ProgramError::EnvFrom);
        }
        if let Some(variable) = spec.env.iter().find(|variable| variable.value_from.is_some()) {
            return Err(ProgramError::ValueFrom { name: variable.name.clone() });
        }
        if let Some(field) = of_the_program(spec.pod_template()) {
            return Err(ProgramError::PodTemplate { field });
        }
        let name = function.metadata.name.clone().unwrap_or_default();
        let environment = spec.env.iter().map(|variable| (variable.name.clone(), variable.value.clone()));
        Ok(Self {
            namespace: function.metadata.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned()),
            revision: format!("{name}-local"),
            function: name,
            file: find(command, folder, search_path)?,
            arguments: arguments.iter().chain(&spec.args).cloned().collect(),
            environment: environment.map(|(name, value)| (name, value.unwrap_or_default())).collect(),
            folder: folder.to_owned(),
            grace: Duration::from_secs(
                u64::try_from(spec.termination_grace_period_seconds()).unwrap_or_default(),
            ),
        })
    }

    /// The variables of a replica on `port`, in Kubernetes' order: a value may refer to those before it.
    pub(crate) fn environment(&self, port: u16) -> BTreeMap<String, String> {
        let port = port.to_string();
        let given = [
            ("PORT", port.as_str()),
            ("K_SERVICE", &self.function),
            ("K_CONFIGURATION", &self.function),
            ("K_REVISION", &self.revision),
            ("CATNAP_FUNCTION", &self.function),
            ("CATNAP_NAMESPACE", &self.namespace),
            ("CATNAP_REVISION", &self.revision),
        ];
        let given: BTreeMap<_, _> =
            given.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let mut all = given.clone();
        for (name, value) in &self.environment {
            let value = expand(value, &all);
            all.insert(name.clone(), value);
        }
        // A container cannot change these either.
        all.extend(given);
        all
    }

    /// The arguments of a replica with these variables.
    pub(crate) fn arguments(&self, environment: &BTreeMap<String, String>) -> Vec<String> {
        self.arguments.iter().map(|argument| expand(argument, environment)).collect()
    }
}

fn find(command: &str, folder: &Path, search_path: Option<&OsStr>) -> Result<PathBuf, ProgramError> {
    let not_found = |place: String| ProgramError::NotFound { command: command.to_owned(), place };
    if command.contains('/') {
        // An absolute path replaces the folder.
        let file = folder.join(command);
        return if is_program(&file) { Ok(file) } else { Err(not_found(format!("in {}", folder.display()))) };
    }
    let search_path = search_path.unwrap_or_default();
    std::env::split_paths(search_path)
        .map(|directory| directory.join(command))
        .find(|file| is_program(file))
        .ok_or_else(|| not_found("on PATH".to_owned()))
}

fn is_program(file: &Path) -> bool {
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

/// `$(NAME)` becomes the value of a known variable, `$$` a dollar; everything else stays, as Kubernetes does it.
fn expand(text: &str, variables: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        expanded.push_str(&rest[..dollar]);
        let after = &rest[dollar + 1..];
        let name = after.strip_prefix('(').and_then(|reference| reference.split_once(')'));
        if let Some(unescaped) = after.strip_prefix('$') {
            expanded.push('$');
            rest = unescaped;
        } else if let Some((name, following)) = name {
            match variables.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&rest[dollar..rest.len() - following.len()]),
            }
            rest = following;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

/// What in a pod's template changes the program itself.
fn of_the_program(template: Option<&Value>) -> Option<&'static str> {
    let containers = template?.pointer("/spec/containers")?.as_array()?;
    let container = containers.iter().find(|container| container["name"] == names::CONTAINER)?;
    OF_THE_PROGRAM.into_iter().find(|field| container.get(field).is_some_and(|value| !value.is_null()))
}

#[cfg(test)]
mod tests;
