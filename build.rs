//! Lets the binary and the tests find libtorch by themselves: torch-sys publishes the folder it linked
//! against, and it becomes the rpath. Without the feature `torch` there is nothing to do.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(lib) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
        println!("cargo::rustc-env=CARPUS_LIBTORCH={lib}");
    }
}
