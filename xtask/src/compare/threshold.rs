//! How much worse a metric may be before a comparison fails: `5%` for any, `wake_p99=10%` for one.
//! Called by `cli` and `cmd::compare`.

use super::finding::Finding;
use super::metric::METRICS;
use std::str::FromStr;

/// A bound on a change for the worse.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Threshold {
    /// None is every metric that knows better from worse.
    metric: Option<String>,
    most: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (metric, number) = match text.split_once('=') {
            Some((metric, number)) => (Some(metric.to_owned()), number),
            None => (None, text),
        };
        if let Some(name) = metric.as_deref().filter(|name| METRICS.iter().all(|m| m.name != *name))
        {
            let names: Vec<_> = METRICS.iter().map(|metric| metric.name).collect();
            return Err(format!("`{name}` is no metric; they are {}", names.join(", ")));
        }
        let percent = number.strip_suffix('%').and_then(|digits| digits.parse::<f64>().ok());
        let percent = percent.filter(|percent| percent.is_finite() && *percent >= 0.0);
        let percent = percent.ok_or_else(|| format!("`{number}` is no percentage, as 5%"))?;
        Ok(Self { metric, most: percent / 100.0 })
    }
}

impl Threshold {
    /// Whether `finding` is really worse, and by more.
    pub(crate) fn is_exceeded(&self, finding: &Finding) -> bool {
        let meant = self.metric.as_ref().is_none_or(|name| *name == finding.metric.name);
        meant && finding.worse == Some(true) && finding.change.abs() > self.most
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_without_a_percent_sign_or_a_metric_unknown_is_refused() {
        let parse = |text: &str| text.parse::<Threshold>();
        assert_eq!(parse("5%").unwrap(), Threshold { metric: None, most: 0.05 });
        let named = Threshold { metric: Some("wake_p99".into()), most: 0.1 };
        assert_eq!(parse("wake_p99=10%").unwrap(), named);
        assert!(parse("5").unwrap_err().contains("no percentage"));
        assert!(parse("-1%").unwrap_err().contains("no percentage"));
        assert!(parse("wake_p98=5%").unwrap_err().contains("they are throughput, wake_p50"));
    }
}
