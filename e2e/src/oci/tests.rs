use std::collections::BTreeMap;

use super::*;

fn image(contents: &[u8]) -> Image {
    let mut layer = Layer::new().unwrap();
    layer.add_directory("etc/", 0o755).unwrap();
    layer.add_bytes("etc/greeting", contents, 0o644).unwrap();
    Image {
        names: vec!["example.org/greeting:dev".into(), "example.org/greeting:1".into()],
        entrypoint: vec!["/greeting".into()],
        environment: vec!["A=b".into()],
        user: "65532:65532".into(),
        stop_signal: Some("SIGQUIT".into()),
        layers: vec![layer.finish().unwrap()],
    }
}

fn read(image: &Image) -> BTreeMap<String, Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("image.tar");
    image.write(&path).unwrap();
    let mut archive = tar::Archive::new(File::open(&path).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        (entry.path().unwrap().display().to_string(), bytes)
    });
    entries.collect()
}

#[test]
fn every_descriptor_names_a_blob_with_that_digest_and_size() {
    let files = read(&image(b"hello"));
    let index: Value = serde_json::from_slice(&files["index.json"]).unwrap();
    let manifest_descriptor = &index["manifests"][0];
    assert_eq!(manifest_descriptor["annotations"]["io.containerd.image.name"], "example.org/greeting:dev");
    let another = &index["manifests"][1];
    assert_eq!(another["annotations"]["org.opencontainers.image.ref.name"], "1");
    assert_eq!(another["digest"], manifest_descriptor["digest"]);
    let blob = |descriptor: &Value| {
        let digest = descriptor["digest"].as_str().unwrap();
        let bytes = files[&blob_path(digest)].clone();
        assert_eq!(descriptor["size"], bytes.len());
        assert_eq!(digest, digest_of(Sha256::new_with_prefix(&bytes)));
        bytes
    };
    let manifest: Value = serde_json::from_slice(&blob(manifest_descriptor)).unwrap();
    let config: Value = serde_json::from_slice(&blob(&manifest["config"])).unwrap();
    blob(&manifest["layers"][0]);
    assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
    assert_eq!(config["config"]["User"], "65532:65532");
    assert_eq!(config["config"]["StopSignal"], "SIGQUIT");
}

#[test]
fn equal_contents_give_equal_archives_and_others_do_not() {
    assert_eq!(read(&image(b"hello")), read(&image(b"hello")));
    assert_ne!(read(&image(b"hello")), read(&image(b"hullo")));
}

#[test]
fn a_saved_layer_is_the_same_layer() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("layer.tar");
    let layer = image(b"hello").layers.remove(0);
    layer.save(&path).unwrap();
    let again = FinishedLayer::from_archive(&path).unwrap();
    assert_eq!((again.digest, again.size), (layer.digest.clone(), layer.size));
}
