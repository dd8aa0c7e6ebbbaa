//! What can be known of the shaders without a device.

use crate::gpu::source::{FILES, expand};
use crate::variants;
use naga::back::spv;
use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};

#[test]
fn every_file_is_part_of_some_variant() {
    let variants = variants::all();
    for (name, _) in FILES {
        assert!(name.starts_with("lib/") || variants.iter().any(|v| v.name == *name), "no variant of {name}");
    }
}

/// Parses, validates, sets the override constants and writes SPIR-V, as the backend will.
#[test]
fn every_variant_compiles() {
    for variant in variants::all() {
        let text = expand(variant.name, &variant.defines).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
        compile(&text, &variant.constants).unwrap_or_else(|e| panic!("{variant:?}: {e}"));
    }
}

fn compile(text: &str, constants: &[(&str, f64)]) -> Result<(), String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|e| e.emit_to_string(text))?;
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::SUBGROUP);
    validator.subgroup_stages(ShaderStages::COMPUTE).subgroup_operations(SubgroupOperationSet::all());
    let info = validator.validate(&module).map_err(|e| e.emit_to_string(text))?;
    let constants = constants.iter().map(|(name, value)| (name.to_string(), *value)).collect();
    let entry = Some((naga::ShaderStage::Compute, "main"));
    let (module, info) = naga::back::pipeline_constants::process_overrides(&module, &info, entry, &constants)
        .map_err(|e| e.to_string())?;
    let options =
        spv::PipelineOptions { shader_stage: naga::ShaderStage::Compute, entry_point: String::from("main") };
    // Vulkan 1.1's, the first with subgroups.
    let version = spv::Options { lang_version: (1, 3), ..Default::default() };
    let words = spv::write_vec(&module, &info, &version, Some(&options));
    words.map(|words| assert!(!words.is_empty())).map_err(|e| e.to_string())
}

/// Each file begins by saying what it is.
#[test]
fn every_file_has_a_header() {
    for (name, text) in FILES {
        assert!(text.starts_with("// "), "{name} begins with its purpose");
        if !name.starts_with("lib/") {
            for part in ["workgroup", "in bounds"] {
                assert!(text.to_lowercase().contains(part), "{name} says nothing of `{part}`");
            }
        }
    }
}
