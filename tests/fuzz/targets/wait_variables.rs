#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chandlery_entrypoint::fuzzing::wait_variables(data));
