//! Permissions, one by one: as the reference documents them and as rendered roles grant them.

use std::collections::BTreeSet;

use serde_json::Value;

/// One verb on one resource for one process.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Permission {
    /// `ClusterRole` or `Role`.
    pub(crate) scope: String,
    pub(crate) process: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    /// The one object that it is for; empty for all.
    pub(crate) name: String,
    pub(crate) verb: String,
}

/// Reads the tables: a heading names the process, a line that begins with the role's kind the scope.
pub(crate) fn documented(markdown: &str) -> BTreeSet<Permission> {
    let mut permissions = BTreeSet::new();
    let (mut process, mut scope) = ("", "");
    for line in markdown.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            process = heading;
        } else if let Some(kind) = ["ClusterRole", "Role"].iter().find(|kind| line.starts_with(*kind)) {
            scope = kind;
        } else if let Some(row) = line.strip_prefix("| ").filter(|row| !row.starts_with("API group")) {
            let cells: Vec<_> = row.split('|').map(str::trim).collect();
            let [group, resources, verbs, name, ..] = cells[..] else { panic!("a row is short: {line}") };
            for resource in resources.split(", ") {
                for verb in verbs.split(", ") {
                    permissions.insert(Permission {
                        scope: scope.to_owned(),
                        process: process.to_owned(),
                        group: if group == "core" { String::new() } else { group.to_owned() },
                        resource: resource.to_owned(),
                        name: name.to_owned(),
                        verb: verb.to_owned(),
                    });
                }
            }
        }
    }
    permissions
}

/// Reads the rules of all roles among the objects.
pub(crate) fn granted(objects: &[Value]) -> BTreeSet<Permission> {
    let mut permissions = BTreeSet::new();
    for role in objects {
        let scope = role["kind"].as_str().unwrap();
        if !matches!(scope, "ClusterRole" | "Role") {
            continue;
        }
        let process = role["metadata"]["name"].as_str().unwrap();
        for rule in role["rules"].as_array().unwrap() {
            let names = match &rule["resourceNames"] {
                Value::Null => vec![""],
                names => strings(names),
            };
            for group in strings(&rule["apiGroups"]) {
                for resource in strings(&rule["resources"]) {
                    for name in &names {
                        for verb in strings(&rule["verbs"]) {
                            permissions.insert(Permission {
                                scope: scope.to_owned(),
                                process: process.to_owned(),
                                group: group.to_owned(),
                                resource: resource.to_owned(),
                                name: (*name).to_owned(),
                                verb: verb.to_owned(),
                            });
                        }
                    }
                }
            }
        }
    }
    permissions
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item.as_str().unwrap()).collect()
}
