//! Which answer of the API server ends a command in which way, and what it says.

use kube::core::Status;

use super::*;

fn answered(act: Act, code: u16, message: &str) -> CallError {
    let status = Status { code, message: message.to_owned(), ..Status::default() };
    CallError::new(act, "https://cluster.example", kube::Error::Api(status.boxed()))
}

fn said(error: &CallError) -> String {
    let mut said = Vec::new();
    crate::exit::report(error, &mut said);
    String::from_utf8(said).unwrap()
}

#[test]
fn every_way_to_fail_has_its_exit_code_and_its_advice() {
    let one = || Act::on_function("get", "shop", "cart");
    let all = || Act::on_all("list", FUNCTIONS, None);
    let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let late = CallError::Late { act: one(), server: "https://cluster.example".into(), seconds: 1.5 };
    let unreachable = kube::Error::Service(refused().into());
    let rows = [
        (answered(one(), 404, r#"functions.catnap.dev "cart" not found"#), Exit::NotFound),
        (answered(one(), 404, r#"namespaces "shop" not found"#), Exit::NotFound),
        (answered(one(), 404, "the server could not find the requested resource"), Exit::Failed),
        (answered(all(), 404, "404 page not found"), Exit::Failed),
        (answered(one(), 401, "Unauthorized"), Exit::NotAllowed),
        (answered(all(), 403, "functions.catnap.dev is forbidden"), Exit::NotAllowed),
        (answered(one(), 403, "functions.catnap.dev is forbidden"), Exit::NotAllowed),
        (answered(one(), 422, "spec.scale.min: Invalid value"), Exit::Failed),
        (answered(one(), 409, "the object has been modified"), Exit::Failed),
        (CallError::new(one(), "https://cluster.example", unreachable), Exit::Unreachable),
        (late, Exit::Unreachable),
    ];
    let mut page = Vec::new();
    for (error, exit) in rows {
        assert_eq!(error.exit(), exit, "{error}");
        page.push(format!("{}: {}", exit as u8, said(&error)));
    }
    insta::assert_snapshot!(page.join("\n"));
}

#[test]
fn what_to_ask_about_rights_is_what_kubectl_understands() {
    for (act, asked) in [
        (Act::on("get", "pods/log", "shop", "cart-1"), "get pods --subresource=log --namespace shop"),
        (
            Act::on("create", "pods/portforward", "catnap-system", "catnap-activator-1"),
            "create pods --subresource=portforward --namespace catnap-system",
        ),
        (Act::on_all("get", "/version", None), "get /version --all-namespaces"),
        (Act::on_all("list", "leases", Some("shop")), "list leases --namespace shop"),
    ] {
        let advice = answered(act, 403, "forbidden").advice().unwrap();
        assert!(advice.starts_with(&format!("`kubectl auth can-i {asked}`")), "{advice}");
    }
}

#[test]
fn names_that_may_have_been_meant_are_told() {
    let missing = answered(Act::on_function("get", "shop", "cart"), 404, r#"functions "cart" not found"#);
    let missing = with_similar(missing, vec!["card".to_owned(), "carts".to_owned()]);
    assert!(said(&missing).ends_with("  try: card, or carts?\n"), "{}", said(&missing));
}
