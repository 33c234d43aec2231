//! A chart as the version before it could have been: made of the chart under test, for there is no released one.

use std::{fs, path::Path};

use anyhow::Context as _;
use catnap_e2e::fixture::Installation;
use catnap_e2e::images::CATNAP_WITH_FAIL_POINTS;
use serde_json::{Value, json};
use tempfile::TempDir;

const VERSION: &str = "0.0.1";
/// The definition's fields of a Function, from its root.
const PROPERTIES: &str = "/spec/versions/0/schema/openAPIV3Schema/properties";
/// Those that it did not have yet: one has a default and one has none, and some are of the status.
const NEW_FIELDS: [(&str, &str); 5] = [
    ("/spec/properties", "rollout"),
    ("/spec/properties/scale/properties", "schedules"),
    ("/status/properties/rollout/properties", "unproven"),
    ("/status/properties/rollout/properties", "unreadySince"),
    ("/status/properties/rollout/properties/counted/properties", "at"),
];

/// The version of its programs, as `catnap_build_info` shows it.
pub(crate) fn build() -> anyhow::Result<&'static str> {
    CATNAP_WITH_FAIL_POINTS.revision.context("a build without a revision of its own")
}

/// The folder of the chart: one of each and nothing beside them by default, an older definition, and other programs.
pub(crate) fn chart() -> anyhow::Result<TempDir> {
    let folder = TempDir::new()?;
    copy(&Installation::chart(), folder.path())?;
    change(&folder.path().join("Chart.yaml"), |chart| {
        set(chart, "/version", VERSION.into())?;
        set(chart, "/appVersion", VERSION.into())
    })?;
    let (_, tag) = CATNAP_WITH_FAIL_POINTS.name.split_once(':').context("an image without a tag")?;
    change(&folder.path().join("values.yaml"), |values| {
        set(values, "/image/tag", tag.into())?;
        for component in ["operator", "activator", "autoscaler"] {
            set(values, &format!("/{component}/replicas"), json!(1))?;
        }
        let objects = ["disruptionBudgets/enabled", "priorityClass/create", "apiPriority/enabled"];
        let policies = ["admissionPolicies/scale", "admissionPolicies/peers", "admissionPolicies/pods"];
        objects.iter().chain(&policies).try_for_each(|path| set(values, &format!("/{path}"), json!(false)))
    })?;
    change(&folder.path().join("files/functions.yaml"), |definition| {
        NEW_FIELDS.iter().try_for_each(|(parent, field)| {
            let parent = format!("{PROPERTIES}{parent}");
            let fields = definition.pointer_mut(&parent).and_then(Value::as_object_mut);
            let removed = fields.and_then(|fields| fields.remove(*field));
            removed.map(drop).with_context(|| format!("no {field} in {parent}"))
        })
    })?;
    Ok(folder)
}

/// Changes what is there: a value of another name would go unnoticed.
fn set(of: &mut Value, path: &str, to: Value) -> anyhow::Result<()> {
    *of.pointer_mut(path).with_context(|| format!("no {path}"))? = to;
    Ok(())
}

/// Changes a file of YAML; what is written is JSON, which is YAML too.
fn change(path: &Path, with: impl FnOnce(&mut Value) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let changed = || {
        let mut value: Value = serde_saphyr::from_str(&fs::read_to_string(path)?)?;
        with(&mut value)?;
        fs::write(path, value.to_string())?;
        anyhow::Ok(())
    };
    changed().with_context(|| format!("changing {}", path.display()))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("reading {}", from.display()))? {
        let entry = entry?;
        let copied = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&copied)?;
            copy(&entry.path(), &copied)?;
        } else {
            fs::copy(entry.path(), copied)?;
        }
    }
    Ok(())
}
