//! What becomes of a manifest's command, and what is said when there is none to run.

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn function(spec: Value) -> Function {
    let mut all = json!({"image": "hello"});
    if let (Value::Object(all), Value::Object(spec)) = (&mut all, spec) {
        all.extend(spec);
    }
    let object = json!({
        "apiVersion": "catnap.dev/v1alpha1", "kind": "Function", "metadata": {"name": "hello"}, "spec": all,
    });
    serde_json::from_value(object).unwrap()
}

fn program(spec: Value) -> Result<Program, ProgramError> {
    Program::new(&function(spec), Path::new("/bin"), Some(OsStr::new("/nowhere:/bin")))
}

#[test]
fn a_program_is_found_on_the_path_or_from_the_folder() {
    assert_eq!(program(json!({"command": ["sh"]})).unwrap().file, Path::new("/bin/sh"));
    assert_eq!(program(json!({"command": ["./sh"]})).unwrap().file, Path::new("/bin/./sh"));
    assert_eq!(program(json!({"command": ["/bin/sh"]})).unwrap().file, Path::new("/bin/sh"));
}

#[test]
fn arguments_follow_the_command_and_variables_are_filled_in() {
    let spec = json!({
        "command": ["sh", "-c"], "args": ["serve --port=$(PORT) --pay=$$5 $(UNKNOWN) $HOME"],
        "env": [{"name": "BASE", "value": "http://localhost:$(PORT)"}, {"name": "URL", "value": "$(BASE)/a"},
                {"name": "EMPTY"}, {"name": "PORT", "value": "1"}],
    });
    let program = program(spec).unwrap();
    let environment = program.environment(4321);
    assert_eq!(environment["URL"], "http://localhost:4321/a");
    assert_eq!(environment["EMPTY"], "");
    assert_eq!(environment["PORT"], "4321", "the port is not the user's to choose");
    assert_eq!(environment["K_SERVICE"], "hello");
    assert_eq!(environment["CATNAP_NAMESPACE"], "default");
    assert_eq!(program.arguments(&environment), ["-c", "serve --port=4321 --pay=$5 $(UNKNOWN) $HOME"]);
}

#[test]
fn what_only_pods_have_does_not_keep_the_program_from_running() {
    let template = json!({"spec": {
        "volumes": [{"name": "v", "emptyDir": {}}],
        "containers": [{"name": "function", "volumeMounts": [{"name": "v", "mountPath": "/v"}]}, {"name": "log", "env": [{"name": "A"}]}],
    }});
    assert!(program(json!({"command": ["sh"], "podTemplate": template})).is_ok());
}

#[rstest]
#[case(json!({}), "spec.command is missing")]
#[case(json!({"command": ["sh"], "envFrom": [{"configMapRef": {"name": "a"}}]}), "spec.envFrom takes variables from the cluster")]
#[case(json!({"command": ["sh"], "env": [{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}), "spec.env: A takes")]
#[case(json!({"command": ["sh"], "podTemplate": {"spec": {"containers": [{"name": "function", "env": [{"name": "A"}]}]}}}), "spec.podTemplate sets env of the container `function`")]
#[case(json!({"command": ["no-such-program"]}), "spec.command: `no-such-program` is not a program on PATH")]
#[case(json!({"command": ["./no-such-program"]}), "spec.command: `./no-such-program` is not a program in /bin")]
fn what_cannot_run_here_is_said(#[case] spec: Value, #[case] beginning: &str) {
    let message = program(spec).unwrap_err().to_string();
    assert!(message.starts_with(beginning), "{message}");
}
