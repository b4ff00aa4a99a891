#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| roommq_fuzz_models::packets(bytes));
