#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| chandlery_entrypoint::fuzzing::http_response(data));
