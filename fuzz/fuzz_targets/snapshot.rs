#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};
use qdrant_backup_fuzz::check;
use qdrant_backup_fuzz::mutate::{Random, mutate, seal_all};

fuzz_target!(|data: &[u8]| check(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let mut random = Random(u64::from(seed));
    if seed % 2 == 0 {
        return mutate(data, size, &mut random);
    }
    let size = fuzzer_mutate(data, size, max_size);
    if seed % 4 == 1 {
        seal_all(&mut data[..size]);
    }
    size
});
