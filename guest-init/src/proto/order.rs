//! What a guest that stops before it knows its scenario is given: a file of QEMU's `fw_cfg` device.
//! Written by the host, read by `guest_init::order`.

use serde::{Deserialize, Serialize};

/// The file's name.
pub const ORDER_FILE: &str = "opt/org.schedlab/order";
/// Its size is a multiple of this, filled up with zeros: the size is in the directory that firmware reads
/// as it boots, and must not tell scenarios apart.
pub const ORDER_BLOCK: usize = 64 << 10;

/// The first line of the file; the scenario follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// How long the runner sleeps before it begins.
    pub phase_ns: u64,
    /// Whether all context switches are hashed.
    pub schedule_hash: bool,
}

impl Order {
    /// The file's bytes.
    pub fn file(&self, scenario: &str) -> serde_json::Result<Vec<u8>> {
        let mut bytes = format!("{}\n{scenario}", serde_json::to_string(self)?).into_bytes();
        bytes.resize((bytes.len() + 1).next_multiple_of(ORDER_BLOCK), 0);
        Ok(bytes)
    }

    /// The order and the scenario of a file's text without its zeros.
    pub fn parse(text: &str) -> Option<(Self, &str)> {
        let (order, scenario) = text.split_once('\n')?;
        Some((serde_json::from_str(order).ok()?, scenario))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_that_fits_makes_a_file_of_the_same_size() {
        let order = Order { phase_ns: 1_000, schedule_hash: true };
        for (scenario, blocks) in [("{}".to_owned(), 1), ("x".repeat(ORDER_BLOCK), 2)] {
            let file = order.file(&scenario).unwrap();
            assert_eq!(file.len(), blocks * ORDER_BLOCK);
            let text = String::from_utf8(file).unwrap();
            let text = text.trim_end_matches('\0');
            assert_eq!(Order::parse(text), Some((order, scenario.as_str())));
        }
        assert_eq!(Order::parse("{}"), None);
    }
}
