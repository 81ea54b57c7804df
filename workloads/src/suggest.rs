//! "Did you mean": the known name nearest to a mistyped one.

/// The nearest of `known` to `given`, if it is near enough to be meant; case does not count.
pub fn nearest<'a>(given: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    known
        .into_iter()
        .map(|name| (strsim::damerau_levenshtein(&given, &name.to_lowercase()), name))
        .min()
        .filter(|(distance, name)| *distance <= 1 + name.len() / 4)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_is_not() {
        let known = ["SpinWait", "PipeIo"];
        assert_eq!(nearest("spinwiat", known), Some("SpinWait"));
        assert_eq!(nearest("pipe", known), Some("PipeIo"));
        assert_eq!(nearest("Frobnicate", known), None);
    }
}
