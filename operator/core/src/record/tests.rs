//! Records that earlier builds stored: each must be read for ever, and its Deployment rendered as it was.

use serde_json::json;

use super::*;
use crate::{
    Observed, advance, build,
    fixtures::{cluster, function, now},
    validate,
};

const STORED: [(&str, &str); 3] = [
    ("smallest", include_str!("../../tests/records/smallest.json")),
    ("every field", include_str!("../../tests/records/every_field.json")),
    ("restricted, H2C", include_str!("../../tests/records/restricted_h2c.json")),
];

#[test]
fn what_earlier_builds_stored_is_read_and_written_the_same() {
    for (what, stored) in STORED {
        let stored: ControllerRevision = serde_json::from_str(stored).unwrap();
        let record = RevisionRecord::read(&stored).unwrap();
        assert!(!record.requires_ready, "{what}");
        assert_eq!(serde_json::to_value(&record).unwrap(), stored.data.clone().unwrap().0, "{what}");
    }
}

#[test]
fn a_deployment_is_made_of_what_was_stored_and_of_nothing_newer() {
    for (what, text) in STORED {
        let mut stored: ControllerRevision = serde_json::from_str(text).unwrap();
        let name = stored.metadata.name.clone().unwrap();
        // As an upgrade finds it: the revision is named after what the spec forms.
        let function = function(json!({"revisionName": name}));
        let digest = crate::content::content_digest(&function.spec).unwrap();
        let annotations = stored.metadata.annotations.as_mut().unwrap();
        annotations.insert(labels::CONTENT_DIGEST.to_owned(), digest);
        let template = stored.data.clone().unwrap().0["template"].clone();
        let observed = Observed { controller_revisions: vec![stored.into()], ..Observed::default() };
        let valid = validate(&function, observed, cluster(), now()).unwrap();
        let resources = build(&valid, &advance(&valid, now())).unwrap();
        assert!(resources.controller_revision.is_none(), "{what}");
        assert_eq!(resources.deployments[0].deployment.spec["template"], template, "{what}");
    }
}

#[test]
fn what_the_types_do_not_know_survives_the_record() {
    let pod = json!({"somethingNew": {"deep": [1, {}, ""]}, "volumes": [{"name": "v", "emptyDir": {}}]});
    let function = function(json!({"podTemplate": {"spec": pod}}));
    let valid = validate(&function, Observed::default(), cluster(), now()).unwrap();
    let stored = build(&valid, &advance(&valid, now())).unwrap().controller_revision.unwrap();
    let text = serde_json::to_string(&stored).unwrap();
    let read = RevisionRecord::read(&serde_json::from_str(&text).unwrap()).unwrap();
    assert_eq!(read.template["spec"]["somethingNew"], pod["somethingNew"]);
    assert_eq!(read.template["spec"]["volumes"], pod["volumes"]);
}
