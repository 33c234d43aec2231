//! What a token says of itself, before the API server vouches for it: enough to spare it the review of what is no token.
//!
//! Nothing is believed here. A service account token is a JWT in compact form (RFC 7519), made for the audiences in its claims.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

#[derive(Deserialize)]
struct Claims {
    aud: Audiences,
}

/// RFC 7519, section 4.1.3: a list, or the only one by itself.
#[derive(Deserialize)]
#[serde(untagged)]
enum Audiences {
    One(String),
    Many(Vec<String>),
}

/// Whether it looks like a signed token for this audience.
pub(super) fn may_be_for(audience: &str, token: &str) -> bool {
    let parts: Vec<&str> = token.split('.').collect();
    let [header, claims, signature] = parts[..] else { return false };
    let decoded = [header, claims, signature].map(|part| URL_SAFE_NO_PAD.decode(part).unwrap_or_default());
    if decoded.iter().any(Vec::is_empty) {
        return false;
    }
    match serde_json::from_slice::<Claims>(&decoded[1]) {
        Ok(Claims { aud: Audiences::One(only) }) => only == audience,
        Ok(Claims { aud: Audiences::Many(list) }) => list.iter().any(|one| one == audience),
        Err(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(claims: &str) -> String {
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        format!("{}.{}.{}", encode(r#"{"alg":"RS256"}"#), encode(claims), encode("signature"))
    }

    #[test]
    fn the_audience_must_be_among_its_claims() {
        for (claims, may_be) in [
            (r#"{"aud":["elsewhere","catnap"],"sub":"a"}"#, true),
            (r#"{"aud":"catnap"}"#, true),
            (r#"{"aud":["https://kubernetes.default.svc"]}"#, false),
            (r#"{"sub":"a"}"#, false),
            ("catnap", false),
        ] {
            assert_eq!(may_be_for("catnap", &token(claims)), may_be, "{claims}");
        }
    }

    #[test]
    fn what_is_not_signed_or_no_token_at_all_is_none() {
        let good = token(r#"{"aud":"catnap"}"#);
        let (unsigned, _) = good.rsplit_once('.').unwrap();
        for bad in ["", "catnap", "a.b.c", "..", unsigned, &format!("{unsigned}."), &format!("{good}.{good}")]
        {
            assert!(!may_be_for("catnap", bad), "{bad}");
        }
    }
}
