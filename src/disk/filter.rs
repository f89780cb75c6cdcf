//! A Bloom filter of hashes: tests whether a set may contain a hash, without a lookup in the set.

/// The number of bits. With two million hashes in the set, the filter lets one in twenty of all
/// other hashes through; with ten million, one in two.
const BITS: usize = 1 << 24;

/// Two bits for each hash. The filter takes no memory while it is empty.
#[derive(Default)]
pub struct Filter(Vec<u64>);

impl Filter {
    pub fn insert(&mut self, hash: u64) {
        self.0.resize(BITS / 64, 0);
        bits(hash).into_iter().for_each(|bit| self.0[bit / 64] |= 1 << (bit % 64));
    }

    /// Returns `false` only for a hash that is not in the set.
    pub fn may_contain(&self, hash: u64) -> bool {
        bits(hash).into_iter().all(|bit| self.0.get(bit / 64).is_some_and(|word| word >> (bit % 64) & 1 == 1))
    }
}

fn bits(hash: u64) -> [usize; 2] {
    [hash, hash >> 32].map(|half| half as usize % BITS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_lets_all_hashes_of_the_set_through_and_few_others() {
        let hash = |n: u64| n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let mut filter = Filter::default();
        assert!(!filter.may_contain(hash(1)));
        (0..200_000).for_each(|n| filter.insert(hash(n)));
        assert!((0..200_000).all(|n| filter.may_contain(hash(n))));
        assert!((200_000..400_000).filter(|n| filter.may_contain(hash(*n))).count() < 4000);
    }
}
