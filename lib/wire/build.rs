//! Compiles the protocol with a pure Rust compiler, so that building needs no `protoc`.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto");
    if std::env::var_os("CARGO_FEATURE_TRANSPORT").is_some() {
        let descriptors = protox::compile(
            ["proto/measurements.proto", "proto/peers.proto", "proto/rates.proto"],
            ["proto"],
        )?;
        // Channels are made by the callers over their own TLS; the generated constructor would also clash with the call's name.
        tonic_prost_build::configure().build_transport(false).compile_fds(descriptors)?;
    }
    Ok(())
}
