//! Lets the binary and the tests find libtorch by themselves: torch-sys publishes the folder it linked
//! against, and it becomes the rpath. Compiles `src/aten/aten.cpp` against that libtorch's headers. Without the
//! feature `torch` there is nothing to do.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // `make test` installs the libraries that parity tests compare with; without them those tests are ignored.
    println!("cargo::rustc-check-cfg=cfg(reference_libraries)");
    println!("cargo::rerun-if-env-changed=CARPUS_REFERENCE_LIBRARIES");
    if std::env::var("CARPUS_REFERENCE_LIBRARIES").is_ok_and(|value| value == "1") {
        println!("cargo::rustc-cfg=reference_libraries");
    }
    #[cfg(feature = "torch")]
    torch();
}

#[cfg(feature = "torch")]
fn torch() {
    use std::path::{Path, PathBuf};

    const SOURCE: &str = "src/aten/aten.cpp";
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=LIBTORCH_INCLUDE");
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys publishes the folder of libtorch");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{lib}");
    println!("cargo::rustc-env=CARPUS_LIBTORCH={lib}");
    // `carpus` reaches no code that uses libtorch. Symbols of static libraries that libtorch has as well would be exported, and
    // what is exported is linked: hidden, the linker drops them and libtorch with them, and the program starts in a moment.
    if std::env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux") {
        println!("cargo::rustc-link-arg-bin=carpus=-Wl,--exclude-libs,ALL");
    }
    // As torch-sys finds them: next to the libraries, or in the folder of the variable.
    let root = std::env::var_os("LIBTORCH_INCLUDE").map(PathBuf::from);
    let root = root.unwrap_or_else(|| Path::new(&lib).parent().expect("libraries lie in a folder").to_owned());
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    cc::Build::new()
        .cpp(true)
        .pic(true)
        .warnings(false)
        .opt_level(1)
        .std("c++17")
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .define("GLOG_USE_GLOG_EXPORT", None)
        .file(SOURCE)
        .compile("carpus_aten");
}
