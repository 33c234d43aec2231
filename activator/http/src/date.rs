//! The `Date` field of responses (RFC 9110 6.6.1), made once a second.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

/// The time of day, as a header field.
#[derive(Debug, Default)]
pub(crate) struct Date(Mutex<Line>);

#[derive(Debug, Default)]
struct Line {
    /// Seconds since 1970; 0 before the first use.
    of: u64,
    text: String,
}

impl Date {
    /// Writes the field as a line.
    pub(crate) fn write_field(&self, buffer: &mut Vec<u8>) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let mut line = self.0.lock();
        if line.of != now || line.text.is_empty() {
            let time = UNIX_EPOCH + Duration::from_secs(now);
            *line = Line { of: now, text: format!("date: {}\r\n", httpdate::HttpDate::from(time)) };
        }
        buffer.extend_from_slice(line.text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_one_and_stays_near() {
        let date = Date::default();
        for _ in 0..2 {
            let mut buffer = Vec::new();
            date.write_field(&mut buffer);
            let text = String::from_utf8(buffer).unwrap();
            let value = text.strip_prefix("date: ").and_then(|text| text.strip_suffix("\r\n")).unwrap();
            let told = httpdate::parse_http_date(value).unwrap();
            assert!(told.elapsed().unwrap() < Duration::from_secs(5), "{value}");
        }
    }
}
